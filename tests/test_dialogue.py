"""Turns as text and back: whatever people write, parsing gives back what was rendered, and nobody can forge or end a turn."""
import collections
import glob
import os
import re

import numpy as np
import pytest
from conftest import CHATS, ROOT
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from test_encoder import encoder_that_joins, printable_bytes

from src import dataset, dialogue, encoder
from src.console import UserError
from src.dialogue import STYLES, Conversation, Turn

@pytest.fixture(scope='module')
def gpt2(real_vocabulary):
    return encoder.get_encoder('124M', real_vocabulary)


ENDS = re.compile(r'(?:(?<=\n)\n+)?<\|endoftext\|>\n*|(?<=\n)\n+')       # the definition: where a conversation ends


@given(st.lists(st.sampled_from(['a', '\n', '\n', '\n', ' ', '<|endoftext|>'])).map(''.join))
def test_a_text_is_cut_where_conversations_end(text):
    assert dialogue._conversations(text) == ENDS.split(text)


often = settings(deadline=None, derandomize=True, max_examples=150)
with_files = settings(deadline=None, derandomize=True, max_examples=60)
every_style = pytest.mark.parametrize('style', STYLES.values(), ids=list(STYLES))

# What somebody would write to break the format, by accident or not.
SPICE = ['\n', '\n\n', '\n ', '\r', '\r\n', '\\', '\\\\', '\\r', '\\n', '\\:', ' \\', 'r', 'n', ':', ': ', ' :', '"', ' "', '" ', "'", '(', ')', ' ', '  ', '\t',
         '<|endoftext|>', '<\\|endoftext|>', '<\\\\|endoftext|>', '\\<|endoftext|>', '<|', '|>', '\n<|endoftext|>\n', 'Mara: ', '\nMara: ', '\nMara:', '(12) A: ', '\n(12) A: ',
         '(12) ', ' said: "', 'A said: "hi"', '\nA said: "', '<sp1>', '<\\sp1>', ' <sp2>', '<bos>', '<eos>', '<s>', '</s>', '<\\/s>', '\n<s> ', '\x0b', '\x0c', '\x1c', '\x85', '\u2028', '\u2029', '\xa0', '\u3000', '\ufeff', '\0', '😀', 'é', 'x']
words = st.lists(st.one_of(st.sampled_from(SPICE), st.text(max_size=3)), max_size=8).map(''.join)
names = st.one_of(st.sampled_from(['A', 'B', 'Mara', 'Theo Lang']), words.filter(bool))
turns = st.builds(Turn, names, words, st.integers(-10 ** 13, 10 ** 13))
conversations = st.lists(st.lists(turns, min_size=1, max_size=4).map(Conversation), min_size=1, max_size=3)


def as_written(style, conversation):
    """What of a conversation a style can hold: only timestamp has the time, and some know two speakers only."""
    return Conversation([Turn(style.speakers[i % 2] if style.speakers else turn.speaker, turn.text, turn.time if style.name == 'timestamp' else None)
                         for i, turn in enumerate(conversation.turns)])


def cast(style, conversation):
    """The conversation with the style's own speakers, if it has any, in turn."""
    return Conversation([turn._replace(speaker=style.speakers[i % 2] if style.speakers else turn.speaker) for i, turn in enumerate(conversation.turns)])


def render(style, *conversations):
    return ''.join(style.render(cast(style, conversation)) for conversation in conversations)


LINES = [style for style in STYLES.values() if not isinstance(style, dialogue.MarkedStyle)]
MARKED = [style for style in STYLES.values() if isinstance(style, dialogue.MarkedStyle)]
SEATS = [STYLES['tokens'], STYLES['s']]


# ---- there and back

@every_style
@often
@given(talks=conversations)
@example(talks=[Conversation([Turn('A', text, 1) for text in SPICE]), Conversation([Turn(name, name, -1) for name in SPICE])])
@example(talks=[Conversation([Turn('A', '', 0)]), Conversation([Turn('A', '', 0), Turn('A', '', 0)])])
def test_parse_gives_back_what_was_rendered(style, talks):
    text = render(style, *talks)
    expected = [as_written(style, talk) for talk in talks]
    assert list(style.parse(text)) == expected
    assert '\r' not in text                             # so nothing changes when a program translates line ends,
    windows = text.replace('\n', '\r\n')                # as it does when it writes and reads text on Windows
    assert list(style.parse(windows.replace('\r\n', '\n'))) == expected


@every_style
@with_files
@given(talks=conversations)
@example(talks=[Conversation([Turn('\ufeffA', '\ufeff', 1)]), Conversation([Turn('\u3000A', '\rx\n\r', 1)])])
def test_parse_gives_back_what_was_written_to_a_file(style, talks, tmp_path_factory):
    path = str(tmp_path_factory.getbasetemp() / f'{style.name}.txt')
    for newline in ('\n', '\r\n'):
        with open(path, 'w', encoding='utf-8', newline=newline) as file:
            file.write(render(style, *talks))
        text = ''.join(piece for piece, _ in dataset.read_text(path))
        assert list(style.parse(text)) == [as_written(style, talk) for talk in talks]


@every_style
@often
@given(text=words)
def test_words_are_the_inverse_of_body(style, text):
    assert style.words(style.body(text)) == text


@every_style
@often
@given(talks=conversations)
def test_a_conversation_is_its_turns_pieces(style, talks):
    for talk in talks:
        talk = cast(style, talk)
        pieces = ''.join(piece for turn in talk.turns for piece in style.pieces(turn))
        if style in SEATS:
            assert style.render(talk) == ('<bos> ' + pieces + '<eos>\n' if style.name == 'tokens' else pieces + '<|endoftext|>\n')
        elif style.name == 'dialogpt':                    # a backslash keeps a first message that could be mistaken for more of the line before
            assert style.render(talk) in (pieces + '\n', '\\' + pieces + '\n')
        else:
            assert style.render(talk) == pieces + '<|endoftext|>\n'


def test_how_the_styles_look():
    talk = Conversation([Turn('Mara', 'You sound tired.', 1349680884843), Turn('Theo', 'long day\nbut a good one', 1349680890000)])
    assert STYLES['name'].render(talk) == 'Mara: You sound tired.\nTheo: long day\n but a good one\n<|endoftext|>\n'
    assert STYLES['timestamp'].render(talk) == ('(1349680884843) Mara: You sound tired.\n(1349680890000) Theo: long day\n but a good one\n'
                                                '<|endoftext|>\n')
    assert STYLES['said'].render(talk) == 'Mara said: "You sound tired."\nTheo said: "long day\n but a good one"\n<|endoftext|>\n'
    assert STYLES['dialogpt'].render(talk) == 'You sound tired.<|endoftext|>long day\n but a good one<|endoftext|>\n'
    assert STYLES['tokens'].render(cast(STYLES['tokens'], talk)) == '<bos> <sp1> You sound tired. <sp2> long day\n but a good one <eos>\n'
    assert STYLES['s'].render(cast(STYLES['s'], talk)) == '<s> You sound tired. </s> long day\n but a good one <|endoftext|>\n'


def test_how_the_escapes_look():
    assert STYLES['name'].pieces(Turn('a:b\\c\nd', 'x')) == ['a\\:b\\\\c\\nd:', ' x', '\n']
    assert STYLES['name'].body('a<|endoftext|>b') == ' a<\\|endoftext|>b'
    assert STYLES['name'].body('a<\\|endoftext|>b') == ' a<\\\\|endoftext|>b'
    assert STYLES['name'].body('a\rb') == ' a\\rb'
    assert STYLES['name'].body('C:\\readme C:\\temp') == ' C:\\\\readme C:\\temp'        # only in front of an r
    assert STYLES['name'].header('(12) A') == '\\(12) A:'
    assert STYLES['tokens'].body('a <sp1> <s> <\\eos>') == ' a <\\sp1> <s> <\\\\eos>'                # each its own marks
    assert STYLES['s'].body('a <sp1> <s>') == ' a <sp1> <\\s>'


def test_ordinary_messages_are_left_as_they_are():
    for text in ('hi', 'see https://example.com/a?b=c', '10:30 :)', 'a "quote"', '<3 |endoftext|', 'C:\\temp', '¯\\_(ツ)_/¯', 'Note: this', ' two  blanks '):
        assert STYLES['name'].body(text) == ' ' + text
        assert STYLES['dialogpt'].body(text) == text


@every_style
@often
@given(text=words, then=words)
def test_no_text_ends_its_turn_or_makes_another(style, text, then):
    assert not any(mark in style.body(text) for mark in ('<|endoftext|>', *style.special_tokens))
    assert style.end_of_turn(style.body(text)) == -1
    talk = cast(style, Conversation([Turn('A', text, 1), Turn('B', then, 2)]))
    [parsed] = style.parse(style.render(talk))
    assert [turn.speaker for turn in parsed.turns] == [turn.speaker for turn in talk.turns]
    assert style.render(talk).count('<|endoftext|>') == {'dialogpt': 2, 'tokens': 0}.get(style.name, 1)


@often
@given(name=words.filter(bool), text=words)
def test_no_name_ends_its_header_or_makes_another_turn(gpt2, name, text):
    for style in (STYLES['name'], STYLES['timestamp'], STYLES['said']):
        header = style.header(name, 7)
        assert '\n' not in header and '<|endoftext|>' not in header and not header.startswith((' ', '\ufeff'))
        assert style.starts(header + style.body(text))['name'] + ('' if style.name != 'said' else ' said') + ':' in header
        found = style.tokenize(gpt2, style.render(Conversation([Turn(name, text, 7)])))
        assert (found.names, found.turns) == ([name], [1])


def test_what_cannot_be_rendered():
    with pytest.raises(UserError, match='Mara has no time.*timestamp'):
        STYLES['timestamp'].render(Conversation([Turn('Mara', 'hi')]))
    for name in ('name', 'timestamp', 'said'):
        with pytest.raises(UserError, match='no speaker'):
            STYLES[name].header('', 7)


# ---- text written by hand

def test_blank_lines_end_conversations():
    text = '\n\nMara: hi\nTheo: hey\n\n\nTheo: bye\n<|endoftext|>\n\nMara: night'
    assert list(STYLES['name'].parse(text)) == [Conversation([Turn('Mara', 'hi'), Turn('Theo', 'hey')]), Conversation([Turn('Theo', 'bye')]),
                                                Conversation([Turn('Mara', 'night')])]


def test_lines_that_start_no_turn_belong_to_the_last():
    text = 'chat of June\nMara: one\ntwo\n three\n  four\n10:30 five\n\ttab\nTheo:\nMara: http://x.y\n'
    assert list(STYLES['name'].parse(text)) == [Conversation([Turn('Mara', 'one\ntwo\nthree\n four\n10:30 five\n\ttab'), Turn('Theo', ''),
                                                              Turn('Mara', 'http://x.y')])]


def test_a_line_of_one_blank_is_an_empty_line_of_the_message():
    assert list(STYLES['name'].parse('Mara: a\n \n b\nTheo: c\n')) == [Conversation([Turn('Mara', 'a\n\nb'), Turn('Theo', 'c')])]


def test_parse_of_seats_by_hand():
    assert list(STYLES['tokens'].parse('<bos> <sp1> hi <sp2> hey <eos> <bos> <sp2>so\n<sp1> x\n y <eos>')) \
        == [Conversation([Turn('<sp1>', 'hi'), Turn('<sp2>', 'hey')]), Conversation([Turn('<sp2>', 'so'), Turn('<sp1>', 'x\ny')])]
    assert list(STYLES['s'].parse('<s> hi\n</s> hey\n\n<s> so')) == [Conversation([Turn('<s>', 'hi'), Turn('</s>', 'hey')]), Conversation([Turn('<s>', 'so')])]


def test_parse_of_the_other_styles_by_hand():
    assert list(STYLES['timestamp'].parse('(12) A: x\ny\n\n(-3) B b: z\nA: w')) == [Conversation([Turn('A', 'x\ny', 12)]), Conversation([Turn('B b', 'z\nA: w', -3)])]
    assert list(STYLES['said'].parse('You said: "hi"\nFriend said: "so "he" said"\nMe said: nothing')) \
        == [Conversation([Turn('You', 'hi'), Turn('Friend', 'so "he" said"\nMe said: nothing')])]
    assert list(STYLES['dialogpt'].parse('a<|endoftext|>b<|endoftext|>\n\nc<|endoftext|>\nd')) \
        == [Conversation([Turn('A', 'a'), Turn('B', 'b')]), Conversation([Turn('A', 'c')]), Conversation([Turn('A', 'd')])]


@every_style
@pytest.mark.parametrize('text', ['', '\n', '\n\n\n', '<|endoftext|>\n\n<|endoftext|>'])
def test_no_turns_no_conversations(style, text):
    if style.name != 'dialogpt' or 'end' not in text:   # there an <|endoftext|> alone is an empty message
        assert list(style.parse(text)) == []


# ---- while the model writes

@pytest.mark.parametrize('body, end', [
    ('', -1), (' long day', -1), (' long day\n', -1), (' long day\n ', -1), (' long day\n but', -1), (' long day\n but\n a good one', -1),
    (' long day\nM', 9), (' long day\n\n', 9), (' long day\n but\nMara: x', 14), ('\nx', 0), (' a\n \n b\n\n', 7), (' a\n\tb', 2), (' a\n<', 2),
])
def test_end_of_turn(body, end):
    for name in ('name', 'timestamp', 'said'):
        assert STYLES[name].end_of_turn(body) == end
    for style in MARKED:
        assert style.end_of_turn(body) == -1            # there only a token ends a turn


@often
@given(text=words, following=st.characters(exclude_characters=' ', exclude_categories=['Cs']))
def test_end_of_turn_is_where_the_close_begins(text, following):
    for name in ('name', 'timestamp', 'said'):
        body = STYLES[name].body(text)
        assert STYLES[name].end_of_turn(body + '\n' + following) == len(body)


def test_words_of_what_a_model_writes():
    assert STYLES['name'].words('hi') == 'hi'           # no blank behind the colon
    assert STYLES['said'].words(' "hi') == 'hi'         # not yet closed
    assert STYLES['said'].words('hi"') == 'hi'
    assert STYLES['name'].words(' a\n b\\r') == 'a\nb\r'


# ---- which style is it?

def small_talk(style):
    return render(style, *[Conversation([Turn('Mara', f'message {i}: how are you?', i), Turn('Theo', 'fine\nand you?', i), Turn('Mara', 'good', i)])
                           for i in range(5)])


@every_style
def test_sniff_finds_each_style(style):
    text = small_talk(style)
    assert dialogue.sniff(text) is style
    assert dialogue.sniff('\n' + text) is style
    assert dialogue.sniff(text[:-20]) is style           # as the end of a first block is
    if style in LINES:
        assert dialogue.sniff(text.replace('<|endoftext|>\n', '\n')) is style


@pytest.mark.parametrize('path', sorted(glob.glob(os.path.join(CHATS, '*.txt'))), ids=os.path.basename)
def test_sniff_of_the_demo(gpt2, path):
    with open(path, encoding='utf-8') as file:
        text = file.read()
    assert dialogue.sniff(text) is STYLES['name']
    by_hand = collections.Counter(line.split(':')[0] for line in text.split('\n') if line)
    found = STYLES['name'].tokenize(gpt2, text)
    assert dict(zip(found.names, found.turns)) == by_hand
    assert len(list(STYLES['name'].parse(text))) == len([block for block in text.split('\n\n') if block.strip()])


NO_DIALOGUE = ['', '\n\n', 'hello', 'It was a dark night.\nThe rain fell: hard, and long.\nNobody came.\n' * 20,
         'One morning, when Gregor Samsa woke from troubled dreams, he found himself transformed.\n\n' * 30,
         'First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\nFirst Citizen:\nYou are all resolved rather to die?\n\n' * 20,
         'ROMEO:\nBut soft!\nJULIET:\nAy me.\n' * 20,
         'ROMEO:\nBut soft, what light\nthrough yonder window\nbreaks?\nJULIET:\nAy me.\n' * 10,
         'name: gpt2\nversion: 2\nlicense: MIT\nauthor: OpenAI\n',              # every "speaker" speaks once
         'a,b,c\n1,2,3\n' * 20, '{"text": "A line of JSON."}\n' * 20, '<html>\n<body>\n' * 10,
         'Once<|endoftext|>\nTwice<|endoftext|>\n' * 10,                        # documents, not turns
         'Mara: hi']


@pytest.mark.parametrize('text', NO_DIALOGUE, ids=lambda text: ascii(text[:20]))
def test_sniff_of_what_is_no_dialogue(text):
    assert dialogue.sniff(text) is None


@pytest.mark.skipif(not os.path.isfile(os.path.join(ROOT, '..', 'shared', 'text', 'tinyshakespeare.txt')), reason='no Shakespeare beside this checkout')
def test_sniff_of_shakespeare():
    with open(os.path.join(ROOT, '..', 'shared', 'text', 'tinyshakespeare.txt'), encoding='utf-8') as file:
        assert dialogue.sniff(file.read(1 << 16)) is None


def test_turns_that_stand_alone_between_blank_lines_are_no_conversations():
    assert dialogue.sniff('Mara: hi\n\nTheo: hello\n\n' * 20) is None
    assert dialogue.sniff('(1) Mara: hi\n\n(2) Theo: hello\n\n' * 20) is None
    assert dialogue.sniff('Mara: hi\nTheo: hello\n\n' * 20) is STYLES['name']


def test_get_style():
    assert dialogue.get_style('said') is STYLES['said']
    with pytest.raises(UserError, match="'shouted'.*name, timestamp, said, dialogpt"):
        dialogue.get_style('shouted')


# ---- whose is each token?

def shown(enc, found):
    return [(enc.decode([i]), int(owner)) for i, owner in zip(found.ids, found.owners)]


def test_owners_of_tokens(gpt2):
    found = STYLES['name'].tokenize(gpt2, 'Mara: hé you\nTheo: yes\n more\n\nTheo: x\n<|endoftext|>\n')
    assert shown(gpt2, found) == [('M', -1), ('ara', -1), (':', -1), (' h', 1), ('é', 1), (' you', 1), ('\n', 1),
                                  ('The', -2), ('o', -2), (':', -2), (' yes', 2), ('\n', 2), (' more', 2), ('\n', 2), ('<|endoftext|>', 0),
                                  ('The', -2), ('o', -2), (':', -2), (' x', 2), ('\n', 2), ('<|endoftext|>', 0)]
    assert (found.names, found.turns) == (['Mara', 'Theo'], [1, 2])


def test_owners_where_a_text_begins_in_the_middle_of_a_turn(gpt2):
    found = STYLES['name'].tokenize(gpt2, '\n more\nTheo: x\n')
    assert shown(gpt2, found)[:4] == [('\n', dialogue.CONTINUES), (' more', dialogue.CONTINUES), ('\n', dialogue.CONTINUES), ('The', -1)]
    found = STYLES['name'].tokenize(gpt2, 'a title\n\nnobody says this\nTheo: x\n')
    assert [owner for _, owner in shown(gpt2, found)][-9:] == [0, 0, 0, 0, -1, -1, -1, 1, 1]


def test_owners_in_the_marked_styles(gpt2):
    talk = Conversation([Turn('A', 'hi'), Turn('B', 'yes'), Turn('A', '')])
    for style, expected in ((STYLES['dialogpt'], [('hi', 1), ('<|endoftext|>', 1), ('yes', 2), ('<|endoftext|>', 2), ('<|endoftext|>', 1), ('<|endoftext|>', 0)]),
                            (STYLES['tokens'], [('<bos>', 0), ('<sp1>', -1), (' hi', 1), ('<sp2>', -2), (' yes', 2), ('<sp1>', -1), (' ', 1), ('<eos>', 0)]),
                            (STYLES['s'], [('<s>', -1), (' hi', 1), ('</s>', -2), (' yes', 2), ('<s>', -1), (' ', 1), ('<|endoftext|>', 0)])):
        enc = gpt2.extended(style.special_tokens)
        found = style.tokenize(enc, render(style, talk, talk))
        assert shown(enc, found) == expected * 2
        assert (found.names, found.turns) == (list(style.speakers), [4, 2])


@every_style
@often
@given(talks=conversations)
def test_owners_agree_with_the_turns(gpt2, style, talks):
    """Each turn's words are its owner's tokens between two headers, whatever is said."""
    enc = gpt2.extended(style.special_tokens)
    talks = [cast(style, talk) for talk in talks]
    found = style.tokenize(enc, render(style, *talks))
    assert len(found.ids) == len(found.owners) and dialogue.CONTINUES not in found.owners
    for k, name in enumerate(found.names):
        assert found.turns[k] == sum(turn.speaker == name for talk in talks for turn in talk.turns)
    if style.name != 'dialogpt' and not any(turn.text[-1:].isspace() for talk in talks for turn in talk.turns):
        words = [[]]
        for i, owner in zip(found.ids.tolist(), found.owners):
            if owner > 0:
                words[-1].append(i)
            elif words[-1]:
                words.append([])
        expected = [turn.text for talk in talks for turn in talk.turns]
        assert [style.words(enc.decode(ids).removesuffix('\n' if style in LINES else '')) for ids in words if ids] == expected


def test_a_block_that_is_cut_at_cuts_has_the_same_tokens_and_owners(gpt2, tmp_path, monkeypatch):
    for style in STYLES.values():
        text = render(style, *[Conversation([Turn(f'M{i % 3}', f'message {i}: how are you?\nsecond line', i), Turn('Theo', 'fine\nand you?', i), Turn('Mara', 'good', i)])
                               for i in range(40)])
        (tmp_path / 'a.txt').write_text(text, encoding='utf-8')
        whole = dataset.load_corpus(gpt2, str(tmp_path / 'a.txt'))
        monkeypatch.setattr(dataset, 'BLOCK', 150)
        cut = dataset.load_corpus(gpt2, str(tmp_path / 'a.txt'))
        monkeypatch.undo()
        assert cut.dialogue == whole.dialogue and cut.dialogue['style'] == style.name
        np.testing.assert_array_equal(cut.chunks[0], whole.chunks[0])
        np.testing.assert_array_equal(cut.owners[0], whole.owners[0])


def test_marks_in_a_prompt_are_tokens_where_the_style_has_them(gpt2):
    def prompt(style, text):
        enc = gpt2.extended(style.special_tokens)
        return [enc.decode([i]) for i in style.prompt_ids(enc, text)]

    assert prompt(STYLES['tokens'], '<bos> <sp1> hi you <sp2>') == ['<bos>', '<sp1>', ' hi', ' you', '<sp2>']
    assert prompt(STYLES['s'], '<s> hi </s> yes <|endoftext|>') == ['<s>', ' hi', '</s>', ' yes', '<|endoftext|>']
    assert prompt(STYLES['dialogpt'], 'hi <|endoftext|>yes') == ['hi', ' ', '<|endoftext|>', 'yes']
    for style in (dialogue.style_of(None), STYLES['name']):
        assert prompt(style, 'Mara: <s>') == [gpt2.decode([i]) for i in gpt2.encode('Mara: <s>')]
    assert dialogue.style_of({'style': 'said'}) is STYLES['said'] and dialogue.style_of(None).begin_ids(gpt2) == [gpt2.eot]


def test_seated():
    talk = Conversation([Turn('Mara', 'a', 1), Turn('Theo', 'b', 2), Turn('Theo', 'c', 3), Turn('Mara', 'd', 4)])
    assert dialogue.seated(talk, STYLES['name']) is talk
    assert dialogue.seated(talk, STYLES['dialogpt']) == Conversation([Turn('A', 'a', 1), Turn('B', 'b\nc', 2), Turn('A', 'd', 4)])
    assert dialogue.seated(talk, STYLES['s'], you='Mara') == Conversation([Turn('</s>', 'a', 1), Turn('<s>', 'b\nc', 2), Turn('</s>', 'd', 4)])
    group = Conversation(talk.turns + [Turn('Priya', 'e', 5)])
    assert dialogue.seated(group, STYLES['tokens'], you='Theo').turns[2:] == [Turn('<sp1>', 'd\ne', 4)]
    with pytest.raises(UserError, match='Mara, Theo, Priya.*--you'):
        dialogue.seated(group, STYLES['tokens'])
    with pytest.raises(UserError, match='<s> and </s>, not Mara'):
        STYLES['s'].render(talk)
    with pytest.raises(UserError, match='Mara cannot open a conversation'):
        dialogue.seated(talk, STYLES['dialogpt'], you='Mara')


# ---- turn by turn, as a chat makes ids, or the whole text at once, as encode.py does: the same ids

@pytest.fixture(scope='module')
def joining():
    """Joins the bytes of a word two by two: a word that is cut in two, or grown by one byte, has other tokens."""
    characters = [printable_bytes()[byte] for byte in sorted(set(''.join(SPICE).encode()))]
    return encoder_that_joins(characters, characters)


def turn_by_turn(enc, style, conversation):
    """A conversation's ids as a chat makes them, and what ends it."""
    ids = [] if style.name != 'tokens' else style.begin_ids(enc)
    for turn in conversation.turns:
        ids += style.turn_ids(enc, turn)
        assert ids[-len(style.turn_ids(enc, turn)):][:len(style.header_ids(enc, turn.speaker, turn.time))] == style.header_ids(enc, turn.speaker, turn.time)
    return ids + [enc.special_tokens['<eos>'] if style.name == 'tokens' else enc.eot]


def ids_of_the_whole(enc, style, talks, path):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(render(style, *talks))
    corpus = dataset.Corpus(enc, str(path))
    corpus.style, corpus.enc = style, enc               # so short a text may be taken for another
    return [i for piece in corpus.pieces() if piece is not dataset.CHUNK for i in piece[0].tolist()]


@every_style
@with_files
@given(talks=conversations)
@example(talks=[Conversation([Turn('Mara', "'s", 1), Turn("'s", 'x', 1), Turn('1', '2 ', 1), Turn(' a', '\n', 1), Turn('b\n', 'end', 1)])])
@example(talks=[Conversation([Turn('A', 'x', 1), Turn('B', text, 1), Turn('A', 'x', 1)]) for text in SPICE])
@example(talks=[Conversation([Turn('A', 'x', 1), Turn(' \t\tB', 'x', 1), Turn('\t\tB', 'x', 1), Turn('\u3000 B', '  x', 1)])])
def test_ids_turn_by_turn_are_those_of_the_whole(gpt2, joining, style, talks, tmp_path_factory):
    talks = [cast(style, talk) for talk in talks]
    for talk in talks:
        if style in LINES:                              # blanks at the very end go with the last newline, and so does `Mara: `
            assume(not style.body(talk.turns[-1].text)[-1].isspace())
    for enc in (gpt2.extended(style.special_tokens), joining.extended(style.special_tokens)):
        expected = [i for talk in talks for i in turn_by_turn(enc, style, talk)]
        assert ids_of_the_whole(enc, style, talks, tmp_path_factory.getbasetemp() / f'whole-{style.name}.txt') == expected


@every_style
@with_files
@given(talks=conversations)
def test_every_end_of_text_token_was_put_there_by_us(gpt2, style, talks, tmp_path_factory):
    enc = gpt2.extended(style.special_tokens)
    ids = ids_of_the_whole(enc, style, talks, tmp_path_factory.getbasetemp() / f'ends-{style.name}.txt')
    assert ids.count(enc.eot) == len(talks) * (style.name != 'tokens') + sum(len(talk.turns) for talk in talks) * (style.name == 'dialogpt')
