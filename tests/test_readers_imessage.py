"""iMessage: the text files of imessage-exporter."""
import pytest

from src import readers
from src.source import Export

EVENING = 1652808582000                                 # May 17, 2022 17:29:42 UTC


def read(path):
    """A file -> (thread, tally)."""
    plan, tally = readers.plan([Export(str(path))]), readers.Tally()
    assert [module.NAME for module, _ in plan.groups] == ['imessage']
    thread, = (thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally))
    return thread, tally


@pytest.fixture
def chat(tmp_path):
    """Text of an export -> (thread, tally); two messages by Me stand in front and are taken away again."""
    def chat(*messages):
        text = 'May 17, 2022  5:29:42 PM\nMe\nfirst\n\n' + '\n'.join(messages)
        (tmp_path / 'Ada Brook.txt').write_text(text, encoding='utf-8')
        thread, tally = read(tmp_path / 'Ada Brook.txt')
        assert thread.turns.pop(0) == ('Me', 'first', EVENING)
        return thread, tally
    return chat


def said(thread):
    return [(turn.speaker, turn.text) for turn in thread.turns]


def test_dates_senders_and_bodies(chat):
    thread, tally = chat('May 17, 2022  5:29:43 PM (Read by you after 1 hour, 49 seconds)\n+15558675309\nare you\n\n\nthere?  \n',
                         'May 18, 2022 12:00:00 AM\nMe\n    indented: yes 👩‍👩‍👧\n', 'May 18, 2022 12:00:01 PM\nMe\nlunch\n')
    assert thread.title == 'Ada Brook' and tally.records == 4 and not tally.dropped
    assert thread.turns == [('+15558675309', 'are you\n\n\nthere?  ', EVENING + 1000), ('Me', '    indented: yes 👩‍👩‍👧', 1652832000000),
                            ('Me', 'lunch', 1652875201000)]


def test_a_date_that_stands_in_a_body_starts_no_message(chat):
    thread, tally = chat('May 17, 2022  5:30:00 PM\nMe\nthey wrote on\nMay 17, 2022  5:29:42 PM\nI think\n')
    assert said(thread) == [('Me', 'they wrote on\nMay 17, 2022  5:29:42 PM\nI think')] and tally.records == 2


def test_replies_are_read_once_where_they_belong_in_time(chat):
    thread, tally = chat(
        'May 17, 2022  5:30:00 PM\nMe\nwho comes?\nTapbacks:\n    Liked by Ada\n    ❤️ by Ben\n'
        '    May 17, 2022  5:31:00 PM\n    Ada\n    I do\n    and Ben\n    Tapbacks:\n        Loved by Me\n\n'
        '    May 17, 2022  5:32:00 PM\n    Ben\n    yes\n\nmore of mine\n',
        'May 17, 2022  5:31:00 PM\nAda\nI do\nand Ben\nTapbacks:\n    Loved by Me\nThis message responded to an earlier message.\n',
        'May 17, 2022  5:32:00 PM\nBen\nyes\nThis message responded to an earlier message.\n')
    assert said(thread) == [('Me', 'who comes?\nmore of mine'), ('Ada', 'I do\nand Ben'), ('Ben', 'yes')]
    assert tally.dropped == {readers.DUPLICATE: 2} and tally.records == 6


def test_replies_of_older_versions_indent_only_their_first_line(chat):
    thread, tally = chat('May 17, 2022  5:30:00 PM\nMe\nwho comes?\nReactions:\nLoved by Ada\n\n    May 17, 2022  5:31:00 PM\n    Ada\n    I do\nand Ben\n\n')
    assert said(thread) == [('Me', 'who comes?')] and tally.dropped == {readers.DUPLICATE: 1}


def test_the_word_reactions_alone_is_a_word(chat):
    assert said(chat('May 17, 2022  5:30:00 PM\nMe\nReactions:\nnone\n')[0]) == [('Me', 'Reactions:\nnone')]


def test_attachments_are_no_words(chat):
    media = ['/Users/ada/Library/Messages/Attachments/3f/15/0A1B/IMG 41.HEIC', '~/Library/Messages/Attachments/a/b.mov', 'attachments/12/34.jpeg',
             'IMG_0041.HEIC',
             'Library/Application Support/MobileSync/Backup/00aa/8f/8f48', 'Audio Message.caf\nTranscription: hello', 'Attachment missing!',
             'Sticker from Me: /Users/ada/Library/Messages/StickerCache/1.heic (App: Free)', 'Outline Sticker from Ada not found!', '\ufffc']
    thread, tally = chat(*(f'May 17, 2022  5:30:{i:02} PM\nAda\n{body}\n' for i, body in enumerate(media)),
                         'May 17, 2022  5:31:00 PM\nAda\nattachments/12/35.jpeg\nlook at /this\nSent with Confetti\n',
                         'May 17, 2022  5:31:01 PM\nAda\nhttps://example.org/a/b.jpg\n', 'May 17, 2022  5:31:02 PM\nAda\nthe file is called cat.jpg\n')
    assert said(thread) == [('Ada', 'look at /this'), ('Ada', 'https://example.org/a/b.jpg'), ('Ada', 'the file is called cat.jpg')]
    assert tally.dropped == {readers.MEDIA: 10}


@pytest.mark.parametrize('text', ['I put it in work/report.pdf', 'did you hear and/or read x.pdf', 'Me and you\nLibrary/SMS', 'attachments/links are gone',
                                  '/r/pics has a cat.jpg', 'Library/that one'])
def test_sentences_that_end_in_a_path_are_words(chat, text):
    thread, tally = chat(f'May 17, 2022  5:30:00 PM\nAda\n{text}\n')
    assert said(thread) == [('Ada', text)] and not tally.dropped


@pytest.mark.parametrize('path', ['/Volumes/My Disk/save/IMG 41.HEIC', '~/Desktop/my save/a.mov', 'C:\\my save\\a.mov', 'attachments/orphaned/a b.bin',
                                  'save/a.jpeg', 'Library/SMS/Attachments/a/b c.bin'])
def test_paths_alone_on_a_line_are_attachments(chat, path):
    thread, tally = chat(f'May 17, 2022  5:30:00 PM\nAda\n{path}\n')
    assert not thread.turns and tally.dropped == {readers.MEDIA: 1}


def test_balloons_of_apps_are_no_words(chat):
    bodies = ['Apple Cash transaction: $5.00', 'GamePigeon message:\nhttps://example.org\nYour turn', "Ada's Fitness.app message: closed a ring",
              'Check In: Reached destination\nChecked in at May 17, 2022  5:29:00 PM', 'Digital Touch message: Tap',
              'my Apple Cash transaction: gone', 'Check In: at the hotel', 'Important message:\nread this']
    thread, tally = chat(*(f'May 17, 2022  5:30:{i:02} PM\nAda\n{body}\n' for i, body in enumerate(bodies)))
    assert said(thread) == [('Ada', body) for body in bodies[5:]] and tally.dropped == {readers.SYSTEM: 5}


def test_tapbacks_that_came_as_words_are_no_words(chat):
    bodies = ['Liked “first”', 'Loved "first"', 'Laughed at an image', 'Removed a heart from “first”', 'Reacted 😂 to “first”', 'Emphasized an audio message',
              'Liked “what nobody said”', 'Loved first', 'Loved a movie last week', 'Removed a tree from the garden']
    thread, tally = chat(*(f'May 17, 2022  5:30:{i:02} PM\nAda\n{body}\n' for i, body in enumerate(bodies)))
    assert said(thread) == [('Ada', body) for body in bodies[6:]] and tally.dropped == {readers.SYSTEM: 6}


def test_announcements_and_events_are_system_lines(chat):
    thread, tally = chat('May 17, 2022  5:30:00 PM You named the conversation Trip\n', 'May 17, 2022  5:30:01 PM Ada left the conversation.\n',
                         'Unable to format announcement!\n', 'May 17, 2022  5:30:02 PM\nMe\nSharePlay Message\nEnded\n',
                         'May 17, 2022  5:30:03 PM\nUnknown\nStarted sharing location!\n', 'May 17, 2022  5:30:04 PM\nMe\nEnded\n')
    assert said(thread) == [('Me', 'Ended')] and tally.dropped == {readers.SYSTEM: 5}


def test_unsent_and_deleted_messages(chat):
    thread, tally = chat('May 17, 2022  5:30:00 PM You unsent a message!\n',
                         'May 17, 2022  5:30:01 PM\nAda\nAda unsent this message part 4 seconds after sending!\n',
                         'May 17, 2022  5:30:02 PM\nMe\nYou deleted a message.\n',
                         'May 17, 2022  5:30:03 PM\nMe\nThis message was deleted from the conversation!\nHello\n',
                         'May 17, 2022  5:30:04 PM\nMe\nkept\nYou unsent this message part!\n', 'May 17, 2022  5:30:05 PM\nMe\nI think he deleted a message.\n')
    assert said(thread) == [('Me', 'kept'), ('Me', 'I think he deleted a message.')] and tally.dropped == {readers.DELETED: 4}


def test_of_an_edited_message_the_last_version_counts_and_of_a_translated_one_the_original(chat):
    thread, tally = chat('May 17, 2022  5:30:00 PM\nMe\nMay 17, 2022  5:30:00 PM se you\nEdited 9 seconds later: See you\n'
                         'Edited 1 hour, 49 seconds later: See you\nthere\n',
                         'May 17, 2022  5:30:01 PM\nMe\nEdited 9 seconds later: not really\n',
                         'May 17, 2022  5:30:02 PM\nAda\nBonjour\nTranslated from:\nHello\n')
    assert said(thread) == [('Me', 'See you\nthere'), ('Me', 'Edited 9 seconds later: not really'), ('Ada', 'Hello')] and tally.records == 4


def test_what_cannot_be_read_is_counted(chat):
    thread, tally = chat('Feb 30, 2022  5:30:00 PM\nMe\nno such day\n', 'May 17, 2022  5:30:00 PM\n\n', 'May 17, 2022  5:30:01 PM\nMe\n',
                         'May 17, 2022  5:30:02 PM\nMe\nfine')
    assert said(thread) == [('Me', 'fine')] and tally.dropped == {readers.UNREADABLE: 2, readers.EMPTY: 1}


def test_windows_line_ends(tmp_path):
    (tmp_path / 'Ada.txt').write_bytes(b'May 17, 2022  5:29:42 PM\r\nMe\r\none\r\ntwo\r\n\r\nMay 17, 2022  5:29:43 PM\r\nAda\r\nthree\r\n\r\n')
    thread, tally = read(tmp_path / 'Ada.txt')
    assert said(thread) == [('Me', 'one\ntwo'), ('Ada', 'three')]
