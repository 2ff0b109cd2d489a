"""replies.py: the turns that are answered, and what the model is shown of them."""
import numpy as np
import pytest
from test_scoring import tiny  # noqa: F401

from src import dataset, dialogue, encoder, folders, lite, replies
from src.console import UserError
from src.dialogue import Conversation, Turn

TALKS = [Conversation([Turn('Theo', 'hi mara'), Turn('Mara', 'Hi Theo.\nHow: was <|endoftext|> it?'), Turn('Mara', 'Well?'), Turn('Theo', 'long day 💛')]),
         Conversation([Turn('Mara', 'Hello'), Turn('Theo', 'yes'), Turn('Mara', '"Good" so')])]


def loaded(tmp_path, text):
    (tmp_path / 'text.txt').write_text(text, encoding='utf-8')
    return dataset.load_corpus(encoder.get_encoder('models/demo'), str(tmp_path / 'text.txt'))


@pytest.mark.parametrize('style', dialogue.STYLES.values(), ids=list(dialogue.STYLES))
def test_conversations_come_back_from_their_tokens(tmp_path, style):
    talks = [dialogue.seated(Conversation([turn._replace(time=1349680884843 + i if style.name == 'timestamp' else None) for i, turn in enumerate(talk.turns)]), style)
             for talk in TALKS * 3]
    assert list(replies.conversations(loaded(tmp_path, ''.join(map(style.render, talks))))) == talks


def test_what_is_answered():
    found = replies.answered(TALKS, 'Mara')
    assert found == [(TALKS[0], 1), (TALKS[1], 2)]                       # not a second message in a row, nor the first of all
    assert replies.chosen(found, 5, seed=1) == found
    some = replies.chosen(list(range(100)), 90, seed=1)
    assert len(set(some)) == 90 and some == sorted(some) == replies.chosen(list(range(100)), 90, seed=1) != replies.chosen(list(range(100)), 90, seed=2)


def test_the_model_is_shown_the_conversation_up_to_there():
    class Session:
        length, first, cut = 8, 3, 2

        def next_time(self, text=''):
            return len(self.turns)

        def answer(self):
            yield f'{self.me} {self.first} {self.cut} '
            yield ' | '.join(f'{turn.time} {turn.text}' for turn in self.turns)

    timed = Conversation([Turn('Theo', 'one', 70), Turn('Jonas', 'two', 80), Turn('Mara', ' three ', 90)])
    found = replies.played(Session(), [(TALKS[0], 3), (timed, 2)], shown=1)
    assert found[0] == ([Turn('Mara', 'Well?')], 'long day 💛', 'Mara 0 0 0 hi mara | 1 Hi Theo.\nHow: was <|endoftext|> it? | 2 Well?')
    assert found[1] == ([timed.turns[1]], 'three', 'Jonas 0 0 70 one | 80 two')


def test_a_tiny_model_plays(tiny, tmp_path):  # noqa: F811
    place, generator = tiny, lite.generator(folders.latest(tiny), precision='float32')
    chats = loaded(tmp_path, ''.join(map(dialogue.STYLES['name'].render, TALKS)))
    play = lambda **more: replies.play(place, generator, chats, 'Mara', 5, length=6, **{'seed': 1, 'temperature': 1.0} | more)
    pairs, others = play()
    assert [pair.human for pair in pairs] == ['Hi Theo.\nHow: was <|endoftext|> it?', '"Good" so']
    assert others == ['Hi Theo.\nHow: was <|endoftext|> it?', 'Well?', 'Hello', '"Good" so']
    assert play()[0] == pairs != play(seed=2)[0]
    with pytest.raises(UserError, match='Jonas answers nobody'):
        replies.play(place, generator, chats, 'Jonas', 5, seed=1)

    plain = loaded(tmp_path, 'so it goes on and on, for ever. ' * 12)
    pairs, pieces = replies.go_on(generator, plain, 2, length=10, seed=1)
    assert len(pairs) == 2 and all(pair.human and pair.human in plain.enc.decode(plain.chunks[0]) for pair in pairs)
    assert all(plain.enc.encode(piece) for piece in pieces)
    with pytest.raises(UserError, match='no held-out text has 2000 tokens'):
        replies.go_on(generator, plain, 2, length=1000, seed=1)
    made = replies.made_up(generator, [plain.enc.eot], 10, 5, seed=1)    # more than a batch
    assert np.shape(made) == (10, 5) and len({tuple(ids) for ids in made}) == 10
    assert np.array_equal(made, replies.made_up(generator, [plain.enc.eot], 10, 5, seed=1))
