"""scoring.py: against one window per token, against a model that knows nothing, and with losses that can be added up by hand."""
import math
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from src import checkpoint, dataset, encoder, files, folders, lite, model, sample, scoring, tflite
from src.console import UsageError, UserError


@pytest.fixture(scope='module')
def tiny(demo_models, tmp_path_factory):
    """The folder of a tiny model, n_ctx 64, with its float32.tflite."""
    folder = str(tmp_path_factory.mktemp('model') / 'tiny')
    shutil.copytree(os.path.join(demo_models, 'tiny'), folder)
    prefix = folders.latest(folder)
    tflite.main(prefix, demo_models, files.sha256(prefix + '.index'), 'float32')
    return folder


@pytest.fixture(scope='module')
def readers(tiny):
    return {'lite': scoring.reader(lite.generator(folders.latest(tiny), precision='float32')),
            'tensorflow': scoring.reader(sample.Generator(*checkpoint.load(tiny)), batch_size=3)}


class Fake:
    """A reader for which every token costs ln 2, and every other one of a window is right."""

    def __init__(self, n_ctx=8):
        self.hparams = SimpleNamespace(n_ctx=n_ctx, n_vocab=4096)

    def __call__(self, batch):
        for i, (ids, first) in enumerate(batch):
            yield i, np.full(len(ids) - first, math.log(2), np.float32), np.arange(len(ids) - first) % 2 == 0


def loaded(tmp_path, text, folder='models/demo'):
    (tmp_path / 'text.txt').write_text(text, encoding='utf-8')
    return dataset.load_corpus(encoder.get_encoder(folder), str(tmp_path / 'text.txt'))


def test_windows():
    assert list(scoring.windows(10, 4, 2)) == [(0, 1, 5), (2, 5, 7), (4, 7, 9), (5, 9, 10)]
    assert list(scoring.windows(5, 4, 2)) == [(0, 1, 5)] and list(scoring.windows(1, 4, 2)) == []
    for n, n_ctx, stride in ((37, 8, 1), (37, 8, 3), (37, 8, 8), (9, 8, 5), (8, 8, 5), (2, 1, 1)):
        found = list(scoring.windows(n, n_ctx, stride))
        assert [i for _, first, stop in found for i in range(first, stop)] == list(range(1, n))      # each once
        assert all(stop - 1 - start <= n_ctx for start, _, stop in found)
        assert all(i - start >= min(i, n_ctx - stride + 1) for start, first, stop in found for i in range(first, stop))


@pytest.mark.parametrize('stride', [1, 63, 64])
def test_losses_are_those_of_one_window_for_each_token(tiny, readers, stride):
    hparams, params = checkpoint.load(tiny)
    ids = np.repeat(np.random.default_rng(0).integers(0, 2048, 75).astype(np.int32), 2)                # what was there just now is what random weights hold likely
    seen = {i: start for start, first, stop in scoring.windows(150, 64, stride) for i in range(first, stop)}
    last = tf.function(lambda X: model.model(hparams, params, X)['logits'][0, -1], input_signature=[tf.TensorSpec([None, None], tf.int32)])
    logits = np.array([last(ids[None, seen[i]:i]) for i in range(1, 150)])
    wanted = np.log(np.exp(logits.astype(np.float64)).sum(axis=1)) - logits[np.arange(149), ids[1:]]
    for read in readers.values():
        (_, nats, hits), = scoring.score(read, [scoring.Document([int(ids[0])], ids[1:], None)], stride)
        np.testing.assert_allclose(nats, wanted, atol=2e-5)
        assert hits.tolist() == (logits.argmax(axis=1) == ids[1:]).tolist() and 30 < hits.sum() < 100
        (_, without, _), = scoring.score(read, [scoring.Document([], ids, None)], stride)            # nothing in front of the first token
        assert np.isnan(without[0])
        np.testing.assert_allclose(without[1:], nats, atol=2e-5)


def test_a_batch_of_texts_of_any_length_is_that_of_each(readers):
    draw = np.random.default_rng(1)
    docs = [scoring.Document([7], draw.integers(0, 2048, n).astype(np.int32), None) for n in (3, 200, 1, 64, 65, 20)]
    together = {kind: list(scoring.score(read, docs, 32)) for kind, read in readers.items()}
    for k, doc in enumerate(docs):
        (_, alone, _), = scoring.score(readers['lite'], [doc], 32)
        for found in together.values():
            assert found[k][0] is doc
            np.testing.assert_allclose(found[k][1], alone, atol=2e-5)


def test_the_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(tmp_path):
    hparams = model.HParams(n_vocab=2048, n_ctx=32, n_embd=8, n_head=2, n_layer=1)
    params = model.init_params(hparams)
    params['wte'].assign(tf.zeros_like(params['wte']))
    found = scoring.evaluate(scoring.reader(sample.Generator(hparams, params)), loaded(tmp_path, 'so it goes. ' * 20))
    assert found['text']['perplexity'] == pytest.approx(2048, rel=1e-5)
    assert found['text']['bits_per_byte'] == pytest.approx(11 * found['text']['tokens'] / len('so it goes. ' * 20))


CHATS = 'Theo: hi\nMara: Hello you\n<|endoftext|>\nMara: one two three\nTheo: yes\nMara: four\n'


def test_conversations_know_nothing_of_each_other(tmp_path):
    chats = loaded(tmp_path, CHATS)
    docs = list(scoring.documents(chats))
    assert [chats.enc.decode(doc.ids) for doc in docs] == ['Theo: hi\nMara: Hello you\n<|endoftext|>', 'Mara: one two three\nTheo: yes\nMara: four\n<|endoftext|>']
    assert [doc.begin for doc in docs] == [[chats.enc.eot]] * 2
    plain = loaded(tmp_path, 'a text\n<|endoftext|>\nanother one')
    assert [plain.enc.decode(doc.ids) for doc in scoring.documents(plain)] == ['a text\n', 'another one']     # their ends are nobody's words
    marked = loaded(tmp_path, '<bos> <sp1> hi <sp2> you <eos>\n<bos> <sp1> so <sp2> so <eos>\n')
    assert [(marked.enc.decode(doc.ids), doc.begin) for doc in scoring.documents(marked)] == [('<bos><sp1> hi<sp2> you<eos>', []), ('<bos><sp1> so<sp2> so<eos>', [])]


def test_the_numbers_by_hand(tmp_path):
    chats = loaded(tmp_path, CHATS)
    n = len(chats.chunks[0])
    found = scoring.evaluate(Fake(), chats, stride=3, who='Mara')
    text, replies = found['text'], found['replies']
    words = len(CHATS.replace('<|endoftext|>', '').split())
    assert (text['tokens'], text['words'], text['documents']) == (n, words, 2) and text['interval'] is None
    assert text['loss'] == pytest.approx(math.log(2)) and text['perplexity'] == pytest.approx(2)
    assert text['word_perplexity'] == pytest.approx(2 ** (n / words))
    assert text['bytes'] == len(CHATS.replace('<|endoftext|>\n', '')) and text['bits_per_byte'] == pytest.approx(n / text['bytes'])
    said = chats.enc.encode(' Hello you\n') + chats.enc.encode(' one two three\n') + chats.enc.encode(' four\n')
    assert (replies['turns'], replies['words'], replies['tokens'], replies['who']) == (3, 6, len(said) + 3, 'Mara')      # and what says that each turn is over
    everyone = scoring.evaluate(Fake(), chats, who='replies')['replies']
    said = [i for text in (' Hello you\n', ' yes\n', ' four\n') for i in chats.enc.encode(text)]
    assert (everyone['turns'], everyone['words'], everyone['tokens']) == (3, 4, len(said) + 3)
    assert sum(n for _, n, _ in found['by_position']) == n and found['by_position'][0][:2] == [1, 2]                     # a first token in each conversation
    assert max(at for at, _, _ in found['by_position']) <= 8
    assert scoring.evaluate(Fake(), chats, units=5)['text']['word_perplexity'] == pytest.approx(2 ** (n / 5))


def test_many_documents_have_an_interval(tmp_path):
    class Uneven(Fake):
        def __call__(self, batch):
            for i, (ids, first) in enumerate(batch):
                yield i, np.full(len(ids) - first, ids[first] % 5, np.float32), np.zeros(len(ids) - first, bool)
    words = [f'{word} once more' for word in 'a the and so it goes on for you me we they see hear say tell think know make do'.split()]
    text = scoring.evaluate(Uneven(), loaded(tmp_path, '<|endoftext|>'.join(words)))['text']
    assert text['documents'] == len(words) and text['interval'][0] < text['loss'] < text['interval'][1]


def test_words():
    enc = encoder.get_encoder('models/demo')
    for text, n in (('', 0), (' ', 0), ('one', 1), (' one  two\nthree ', 3), ('héllo 💛 you', 3)):
        assert scoring.n_words(enc, np.array(enc.encode(text), int)) == n
    assert scoring.n_words(enc, np.array([*enc.encode('one'), enc.eot, *enc.encode('two')])) == 2


def test_last_words():
    enc = encoder.get_encoder('models/demo')
    passages = [('so it goes and', ' goes'), ('one two three', ' internationalisation')]
    assert len(enc.encode(' goes')) == 1 and len(enc.encode(' internationalisation')) > 1
    found = scoring.last_words(Fake(64), enc, passages)
    assert found['passages'] == 2 and found['accuracy'] == 0.5           # every token of it: the second of the long word is not
    n = found['tokens']
    assert n == sum(len(enc.encode(word)) for _, word in passages) and found['perplexity'] == pytest.approx(2 ** (n / 2))
    assert scoring.last_words(Fake(4), enc, passages[:1] * 3)['accuracy'] == 1       # does not fit: the beginning goes


def test_what_cannot_be(tmp_path):
    chats = loaded(tmp_path, CHATS)
    assert scoring.check_stride(None, 64) == 32 and scoring.check_stride(64, 64) == 64 and scoring.check_stride(None, 1) == 1
    for stride in (0, -1, 9):
        with pytest.raises(UsageError, match=f'--stride {stride} is out of range: this model sees 8 tokens'):
            scoring.evaluate(Fake(), chats, stride=stride)
    with pytest.raises(UserError, match='the text has 1 token: it takes 2'):
        scoring.evaluate(Fake(), loaded(tmp_path, 'a'))
    read = Fake()
    read.hparams.n_vocab = 2048
    with pytest.raises(UserError, match='in the style "tokens", whose special tokens this model does not have'):
        scoring.evaluate(read, loaded(tmp_path, '<bos> <sp1> hi <sp2> you <eos>\n' * 3))
