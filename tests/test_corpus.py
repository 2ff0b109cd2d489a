"""Threads become conversations: what is chosen, what counts twice, where a conversation ends, how it is divided."""
import collections
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import corpus
from src.console import UsageError, UserError
from src.corpus import HOUR, Aliases, Builder, Division, Duplicates, Names, Selection
from src.dialogue import Conversation, Turn
from src.privacy import Redaction
from src.readers import Thread

often = settings(deadline=None, derandomize=True, max_examples=200)

# ---- selection

def turns(*said, step=60_000):
    """'A: hi' ... -> Turns, a minute apart; a number in between is the time of what follows, None takes the times away."""
    found, now = [], 0
    for words in said:
        if not isinstance(words, str):
            now = words
        else:
            speaker, _, text = words.partition(': ')
            found.append(Turn(speaker, text, now))
            now = now if now is None else now + step
    return found


def built(*threads, export=None, redaction=None, aliases=(), gap=6 * HOUR, join=True, min_turns=2, you=None, you_answer=False, **selection):
    """Threads -> (what is said in each conversation, the Builder)."""
    names = {key: Names(selection.pop(key, [])) for key in ('only', 'exclude')}
    builder = Builder(Selection(**names, **selection), Aliases(aliases), gap=gap, join=join, min_turns=min_turns, you=you, you_answer=you_answer, redaction=redaction)
    found = [[(turn.speaker, turn.text) for turn in conversation.turns]
             for i, thread in enumerate(threads) for conversation in builder.conversations(thread, i if export is None else export)]
    return found, builder


def thread(*said, title='', **more):
    return Thread(turns(*said), title, format='test', **more)


def dropped(builder):
    """All reasons, once it is sure that nothing is lost."""
    for stats in builder.threads.values():
        assert stats.read == stats.kept + sum(stats.dropped.values())
    assert sum(builder.people.values()) == sum(stats.kept for stats in builder.threads.values())
    return dict(sum((stats.dropped for stats in builder.threads.values()), start=collections.Counter()))


def test_only_keeps_whole_threads_and_exclude_takes_out_people():
    group = thread('Mara: a', 'Theo: b', 'Ola: c', 'Mara: d', title='Choir')
    found, builder = built(group, thread('Theo: x', 'Ola: y', title='Ola'), only=['mara'], exclude=['OLA'])
    assert found == [[('Mara', 'a'), ('Theo', 'b'), ('Mara', 'd')]]
    assert dropped(builder) == {'threads not chosen': 2, 'people excluded': 1}
    builder.check()


def test_a_person_called_like_a_thread():
    found, builder = built(thread('Mara: a', 'Theo: b', title='Ola'), thread('Ola: c', 'Theo: d', 'Mara: e', title='Choir'), exclude=['Ola'])
    assert found == [[('Theo', 'd'), ('Mara', 'e')]] and dropped(builder) == {'threads excluded': 2, 'people excluded': 1}


@pytest.mark.parametrize('name, pattern', [('José', 'Jose\u0301'), ('Mara [work]', 'mara [work]'), ('Mara Winter', 'mara*'), ('What?', 'what?'), ('\u200eمارا\u202c', 'مارا'),
                                           ('a\nb', 'a\nb'), ('Straße', 'STRASSE'), ('x, y: "z"', 'x, y: "z"'), ('🌸', '🌸')])
def test_names_are_found_as_people_type_them(name, pattern):
    assert name in Names([pattern]) and 'someone else' not in Names([pattern])


def test_nobody_of_that_name_is_told_with_who_is_there():
    _, builder = built(thread('Mara: a', 'Theo\nX: b', title='Choir'), only=['Marra'])
    with pytest.raises(UserError, match=r'--only Marra: there is nobody and no thread of this name; there are Mara, Theo X, and the threads Choir\.'):
        builder.check()
    _, builder = built(thread('Mara: a', 'Theo: b'), aliases=['Teho=Theo'])
    with pytest.raises(UserError, match='--alias Teho: there is nobody of this name; there are Theo, Mara'):
        builder.check()


def test_dates_choose_messages():
    day = 24 * HOUR
    found, builder = built(thread('A: 0', 'B: 1', day, 'A: 2', 'B: 3', 2 * day, 'A: 4', 'B: 5', None, 'A: 6'), since=day, until=2 * day)
    assert found == [[('A', '2'), ('B', '3')]] and dropped(builder) == {'before --since': 2, 'after --until': 2, 'without a time': 1}
    with pytest.raises(UsageError, match='--since is later than --until'):
        Selection(since=5, until=5)


def test_one_to_one_or_groups_scores_and_scripts():
    pair, group, claimed = (lambda: thread('A: 1', 'B: 2')), (lambda: thread('A: 1', 'B: 2', 'C: 3')), (lambda: thread('A: 1', 'B: 2', group=True))
    assert dropped(built(pair(), group(), claimed(), chats='groups', export=0)[1]) == {'one-to-one chats': 2}
    assert dropped(built(pair(), group(), claimed(), chats='one_to_one', export=0)[1]) == {'group chats': 5}
    assert dropped(built(thread('A: 1', 'B: 2', score=0.0), min_score=1)[1]) == {'score below 1': 2}
    assert dropped(built(thread('A: да', 'B: no', 'A: ή', 'B: yes', 'A: well'), scripts=' Cyrillic, Greek,')[1]) == {'in Cyrillic, Greek': 2}
    for scripts in ('Klingon', 'a}b', 'Latin]'):
        with pytest.raises(UsageError, match='Unicode has no script called'):
            Selection(scripts=scripts)
    assert built(pair(), scripts=',')[0] == [[('A', '1'), ('B', '2')]]


def test_aliases_chain_and_never_collide():
    said = thread('T. Lang: a', 'Theodor: b', 'Lang, Jo: c', 'theo: d', 'Mara=x: e')
    found, builder = built(said, aliases=['T. Lang,Theodor=Theo', 'Theo=T', r'Lang\, Jo=Jo', 'Mara=x=Mara'])
    assert found == [[('T', 'a\nb'), ('Jo', 'c'), ('T', 'd'), ('Mara', 'e')]]
    builder.check()
    for definitions, words in ((['a=b', 'b=a'], 'circle'), (['a=b', 'A=c'], 'both b and c'), (['a'], 'must read'), (['=b'], 'must read'), ([',=b'], 'must read'), (['a= '], 'must read')):
        with pytest.raises(UsageError, match=words):
            Aliases(definitions)
    assert Aliases(['A=a', 'b=B'])([Turn('A', ''), Turn('B', '')]) == [Turn('a', ''), Turn('B', '')]


def test_one_name_in_two_normal_forms_is_one_person():
    found, _ = built(thread('José: a', 'Jose\u0301: b', ' José\u200e: c', 'B: d', ': e'))
    assert found == [[('José', 'a\nb\nc'), ('B', 'd'), ('Unknown', 'e')]]


# ---- duplicates

def keep(*exports):
    """[(export, thread, turns)] -> what is kept of each, and how many are dropped."""
    duplicates, drop = Duplicates(), collections.Counter()
    return [[turn.text for turn in duplicates.keep(said, export, drop, title)] for export, title, said in exports], drop['duplicates']


CHAT = turns(*(f'{"AB"[i % 2]}: {i}' for i in range(10)))


@pytest.mark.parametrize('title', [None, 'Mara'])
def test_an_export_twice_and_exports_that_overlap(title):
    whole = [str(i) for i in range(10)]
    assert keep((0, title, CHAT), (1, title, CHAT)) == ([whole, []], 10)
    assert keep((0, title, CHAT[:6]), (1, title, CHAT[3:])) == ([whole[:6], whole[6:]], 3)
    assert keep((0, title, CHAT[3:6]), (1, title, CHAT)) == ([whole[3:6], whole[:3] + whole[6:]], 3)
    assert keep((0, title, CHAT), (0, title, CHAT)) == ([whole, whole], 0)              # an export is no duplicate of itself


def test_an_overlap_of_one_message_counts_where_the_thread_has_a_name():
    assert keep((0, 'Mara', CHAT[:6]), (1, 'Mara', CHAT[5:]))[1] == 1
    assert keep((0, None, CHAT[:6]), (1, None, CHAT[5:]))[1] == 0


def test_what_goes_to_two_friends_at_once_is_not_a_duplicate():
    mara, theo = (turns(f'{name}: and you?', 'Me: ok', f'{name}: fine') for name in ('Mara', 'Theo'))
    assert keep((0, None, mara), (1, None, theo))[1] == 0
    wishes = [turns(f'{name}: hi', 'Me: Happy new year!', 'Me: 🎉', f'{name}: thanks {name}') for name in ('Mara', 'Theo')]
    assert keep((0, 'Mara', wishes[0]), (1, 'Theo', wishes[1]))[1] == 0
    assert keep((0, None, wishes[0]), (1, None, wishes[1]))[1] == 0


def test_threads_without_times_are_duplicates_as_a_whole():
    said = turns(None, 'A: hi', 'B: yo')
    assert keep((0, None, said), (1, None, said), (2, None, said[:1])) == ([['hi', 'yo'], [], ['hi']], 2)
    assert keep((0, None, said), (0, None, said))[1] == 0


# ---- sessions

def test_sessions_end_where_hours_are_silent():
    said = turns('A: 1', 'B: 2', 7 * HOUR, 'A: 3', 7 * HOUR, 'B: 4', 5 * HOUR, 'A: 5', None, 'B: 6', 30 * HOUR, 'A: 7', 1 * HOUR, 'B: 8', -10 ** 18, 'A: 9', 10 ** 18, 'B: 10')
    assert [[turn.text for turn in run] for run in corpus.sessions(said, 6 * HOUR)] == [['1', '2'], ['3', '4', '5', '6'], ['7'], ['8'], ['9'], ['10']]
    assert [len(run) for run in corpus.sessions(said, 0)] == [10] and list(corpus.sessions([], 0)) == list(corpus.sessions([], 1)) == []
    assert len(list(corpus.sessions(turns('A: 1', 6 * HOUR, 'B: 2'), 6 * HOUR))) == 2                    # exactly the gap
    assert len(list(corpus.sessions(turns('A: 1', 6 * HOUR - 1, 'B: 2'), 6 * HOUR))) == 1


def test_bursts():
    said = lambda: thread('A: 1', 'A: 2', 'B: 3', 'A: 4')
    assert built(said())[0] == [[('A', '1\n2'), ('B', '3'), ('A', '4')]]
    assert built(said(), join=False)[0] == [[('A', '1'), ('A', '2'), ('B', '3'), ('A', '4')]]


def test_min_turns_and_you():
    short, long, alone = (lambda: thread('A: 1', 'B: 2', title='short')), (lambda: thread('A: 1', 'C: 2', 'A: 3', title='long')), (lambda: thread('A: 1', 'A: 2', title='alone'))
    assert dropped(built(short(), long(), alone(), min_turns=3)[1]) == {'in conversations of fewer than 3 turns': 2, 'in conversations where only one person speaks': 2}
    assert dropped(built(short(), long(), alone(), min_turns=1)[1]) == {}
    assert dropped(built(short(), long(), you='B')[1]) == {'in conversations where --you is silent': 3}
    with pytest.raises(UserError, match='--you D: there is nobody of this name; there are A, B'):
        built(short(), you='D')[1].check()


def test_where_order_alone_tells_who_speaks_you_never_begin():
    talk = thread('B: 0', 'B: 1', 'A: 2', 'B: 3', 7 * HOUR, 'A: 4', 'B: 5', 14 * HOUR, 'B: 6', 21 * HOUR, 'B: 7', 'A: 8')
    found, builder = built(talk, you='B', you_answer=True)
    assert found == [[('A', '2'), ('B', '3')], [('A', '4'), ('B', '5')]]
    assert dropped(builder) == {'by --you, before anybody else speaks': 4, 'in conversations where only one person speaks': 1}
    assert built(thread('B: 0', 'A: 1', 'B: 2'), you='B')[0] == [[('B', '0'), ('A', '1'), ('B', '2')]]


def test_days_of_times_that_cannot_be():
    assert [corpus.date(time) for time in (0, -1, 86_400_000, 10 ** 20, -10 ** 20)] == ['1970-01-01', '1969-12-31', '1970-01-02', '9999-12-31', '0001-01-01']
    assert corpus.milliseconds('1970-01-02T01:00+01:00') == 86_400_000 and corpus.milliseconds('1969-12-31') == -86_400_000
    with pytest.raises(UsageError, match='is no date'):
        corpus.milliseconds('31.12.2020')


# ---- nothing is lost

someone = st.sampled_from(['A', 'B', 'C', 'Mara', 'mara', '', ' ', 'x, y', '+49 170 1234567', '<|endoftext|>', 'ا', '🌸'])
saying = st.builds(Turn, someone, st.sampled_from(['ok', 'hi', 'да', '0170 1234567', '<|endoftext|>', '<sp1>', '', '\n']),
                   st.one_of(st.none(), st.sampled_from([0, 0, 60_000, 60_000, 7 * HOUR, 48 * HOUR, -HOUR, 10 ** 18])))
some_threads = st.lists(st.builds(lambda said, title, group, score: Thread(said, title, group, score=score, format='test'), st.lists(saying, min_size=1, max_size=12),
                                  st.sampled_from(['', 'Mara', 'Choir', 'A']), st.sampled_from([None, True, False]), st.sampled_from([None, 0.0, 5.0])), min_size=1, max_size=5)


@often
@given(threads=some_threads, only=st.sampled_from([[], ['Mara'], ['A', 'Choir']]), exclude=st.sampled_from([[], ['mara'], ['B']]), since=st.sampled_from([None, 0, HOUR]),
       until=st.sampled_from([None, 24 * HOUR]), chats=st.sampled_from(['all', 'groups', 'one_to_one']), scripts=st.sampled_from(['', 'Cyrillic']), gap=st.sampled_from([0, 6 * HOUR]),
       join=st.booleans(), min_turns=st.integers(1, 4), you=st.sampled_from([None, 'A']), you_answer=st.booleans(), export=st.sampled_from([None, 0]), aliases=st.sampled_from([[], ['A,C=B'], ['A=B', 'B=C']]))
def test_read_is_kept_and_dropped(threads, join, export, **options):
    read = sum(len(thread.turns) for thread in threads)
    found, builder = built(*threads, export=export, join=join, redaction=Redaction(), **options)
    gone = dropped(builder)
    kept = sum(stats.kept for stats in builder.threads.values())
    assert read == kept + sum(gone.values())
    if not join:
        assert kept == sum(map(len, found))
    assert all(len(conversation) >= options['min_turns'] for conversation in found)


# ---- division

@pytest.mark.parametrize('n', [10, 100, 1000])
@pytest.mark.parametrize('share', [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_share_comes_out(n, share):
    choose = random.Random(n)
    sizes = [round(choose.lognormvariate(5, 1.5)) + 1 for _ in range(n)]
    division = Division(share)
    held_out = sum(size for size in sizes if division(Thread(), Conversation([Turn('A', size * 'x')])) == 'validation')
    assert abs(held_out - share * sum(sizes)) <= max(sizes)
    if n == 1000:
        assert abs(held_out / sum(sizes) - share) < 0.03


@pytest.mark.parametrize('unit', [None, 'a post'])
def test_conversations_that_begin_alike_are_on_one_side(unit):
    division, found = Division(0.5), collections.defaultdict(set)
    for i in range(200):
        said = turns(*(f'{"AB"[k % 2]}: {i} {k}' for k in range(6)))
        for conversation in (said, said[:2], said[:4], said, said[:4] + turns('A: so', 'B: no')):
            found[i].add(division(Thread(unit=unit and f'{unit} {len(found)}', format='test'), Conversation(conversation)))
    assert all(len(splits) == 1 for splits in found.values()) and 80 < sum(splits == {'validation'} for splits in found.values()) < 120


def test_units_and_splits_are_kept_together():
    division, choose, found = Division(0.2), random.Random(1), collections.defaultdict(set)
    sizes = collections.Counter()
    for i in range(2000):
        unit = str(choose.randrange(200))
        conversation = Conversation([Turn('A', 'x' * choose.randrange(1, 200))])
        split = division(Thread(unit=unit, format='reddit'), conversation)
        found[unit].add(split)
        sizes[split] += len(conversation.turns[0].text)
    assert all(len(splits) == 1 for splits in found.values())
    assert sizes['validation'] / sum(sizes.values()) == pytest.approx(0.2, abs=0.03)
    assert division(Thread(split='test'), conversation) == 'test' and Division(0)(Thread(), conversation) == 'train'
