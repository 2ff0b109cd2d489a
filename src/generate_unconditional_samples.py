#!/usr/bin/env python3
"""Write texts out of nothing, or, with a model of conversations, whole conversations among the people it knows.

    python src/generate_unconditional_samples.py --model_name 124M --top_k 40
    python src/generate_unconditional_samples.py --run_name run1 --nsamples 3 --top_k 40 --with "Mara,Theo" --topic "are you awake?"
    python src/generate_unconditional_samples.py --run_name run1 --nsamples 5 --format html > friends.html
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from src import console, dialogue, encoder, files, folders, generators   # noqa: E402
from src.console import UsageError                                       # noqa: E402
from src.settings import Settings, check_settings, fresh_seed            # noqa: E402
from src.stream import stream                                            # noqa: E402

HEAD = '=' * 40 + ' SAMPLE {} ' + '=' * 40
FORMATS = ('txt', 'json', 'html')


def sample_model(model_name='124M', seed=None, nsamples=0, batch_size=1, length=None, temperature=1, top_k=0, top_p=1,
                 models_dir='models', run_name=None, checkpoint_dir='checkpoint', with_=None, topic=None, format='txt', plain=False,
                 min_p=0, typical_p=1, repetition_penalty=1, frequency_penalty=0, presence_penalty=0, no_repeat_ngram_size=0, precision='auto',
                 verbose=False):
    """Write texts out of nothing, or, with a model of conversations, whole conversations among the people it knows.

    Args:
        model_name: a model in models_dir, or the path of a model folder, run folder or checkpoint.
        seed: a whole number; the same one, with the same batch_size, gives the same texts. Default: another every time.
        nsamples: texts to write; 0: go on until Ctrl-C.
        batch_size: texts made at a time (conversations are made one by one).
        length: tokens of a text. Default: what the model sees at once (n_ctx); beyond that the window slides. A conversation ends by itself, or with the turn that reaches so many.
        temperature: below 1 more predictable, above 1 wilder, 0 always the likeliest token.
        top_k: draw from so many likeliest tokens; 0: off.
        top_p: draw from the likeliest tokens that reach this probability; 0 and 1: off. Both apply when both are given.
        models_dir: the folder of the models.
        run_name: a run of train.py, instead of a model.
        checkpoint_dir: the folder of the runs.
        with_: --with "Mara,Theo": the only people who speak, their names divided by commas. Default: whoever the model lets speak.
        topic: the first message of each conversation.
        format: of conversations: txt, json or html.
        plain: write text as it comes, also with a model of conversations.
        min_p: only tokens at least so many times as likely as the likeliest; 0: off.
        typical_p: only the most typical tokens that reach this probability (locally typical sampling); 0 and 1: off.
        repetition_penalty: above 1, what was said becomes less likely; 1: off.
        frequency_penalty: taken from a token's logit for each time it was made, -2 to 2; 0: off.
        presence_penalty: taken from a token's logit once it was made, -2 to 2; 0: off.
        no_repeat_ngram_size: no run of so many tokens comes twice; 0: off.
        precision: of the weights: int8, bfloat16, float32, or auto: int8 on a CPU, bfloat16 on a GPU that computes in it.
        verbose: show TensorFlow's own messages.
    """
    place = files.find_model(model_name, models_dir, run_name, checkpoint_dir)
    if format not in FORMATS:
        raise UsageError(f'--format {format} is out of range: it takes {", ".join(FORMATS)}.')
    folder = files.folder_of(place)
    known = folders.read_dialogue(folder)
    if with_ is not None or topic is not None or format != 'txt':
        if known is None:
            raise UsageError(f'{folder} is no model of conversations, which --with, --topic and --format need: train on conversations first.')
        if plain:
            raise UsageError('--plain writes text as it comes, without the conversations that --with, --topic and --format are for: leave out one or the other.')
    generator, _ = generators.open_generator(place, models_dir, precision, verbose)
    enc = encoder.get_encoder(folder)
    length = generator.hparams.n_ctx if length is None else length
    settings = Settings(temperature, top_k, top_p, min_p, typical_p, repetition_penalty, frequency_penalty, presence_penalty, no_repeat_ngram_size)
    check_settings(length=length, batch_size=batch_size, nsamples=nsamples, seed=seed, **settings._asdict())
    length, batch_size, nsamples = int(length), int(batch_size), int(nsamples)         # which may be written as 5.0 or 1e2
    seed = fresh_seed() if seed is None else seed
    if known and not plain:
        return write_conversations(generator, enc, known, with_, topic, format, nsamples, length, seed, settings._asdict())
    start = (dialogue.style_of(known).begin_ids(enc) or [0])[0]
    made = 0
    while nsamples == 0 or made < nsamples:
        batch = min(batch_size, nsamples - made) if nsamples else batch_size
        for ids in np.concatenate(list(stream(generator, [[start]] * batch, settings, length=length, seed=[seed, made])), axis=1):
            made += 1
            print(HEAD.format(made))
            print(enc.decode(ids), flush=True)


def named(text, there):
    """The people of --with, of those there are. A name may hold commas itself."""
    people, parts = [], text.split(',')
    while parts:
        fits = next((n for n in range(len(parts), 0, -1) if ','.join(parts[:n]).strip() in there), None)
        if fits is None:
            raise UsageError(f'--with {parts[0].strip()}: nobody in the training data is called so; there are {", ".join(there[:20])}.')
        people.append(','.join(parts[:fits]).strip())
        parts = parts[fits:]
    return people


def write_conversations(generator, enc, known, with_, topic, format, nsamples, length, seed, settings):
    """Print conversations one after the other. known: what folders.read_dialogue says; the rest: as in sample_model."""
    from src import chat, transcript
    style = dialogue.get_style(known['style'])
    there = style.speakers or known['speakers']
    people = None if with_ is None else named(with_, there)
    if format != 'txt' and not nsamples:
        raise UsageError(f'--format {format} needs to know how many conversations: give --nsamples.')
    done = []
    while nsamples == 0 or len(done) < nsamples:
        session = chat.ChatSession(generator, enc, style, seed=[seed, len(done)], last_time=known.get('last_time'), **settings)
        show = format == 'txt'
        if show:
            print(HEAD.format(len(done) + 1))
        if topic is not None:
            session.say(session.next_speaker(people) or (people or there)[0], topic)
            if show:
                print(transcript.line(session.turns[0], style), topic.replace('\n', '\n '), flush=True)
        for speaker, words in session.improvise(people, length):
            begins = transcript.line(dialogue.Turn(speaker, '', session.next_time()), style) + ' '
            for piece in filter(None, words):
                if show:
                    print(begins + piece.replace('\n', '\n '), end='', flush=True)
                    begins = ''
            if show and not begins:
                print()
        told = style.time_header(0)                     # whether the style writes times; where it does not, they are nobody's
        done.append(dialogue.Conversation(session.turns if told else [turn._replace(time=None) for turn in session.turns]))
    if format != 'txt':
        print(transcript.to_json(done) if format == 'json' else transcript.to_html(done))


if __name__ == '__main__':
    console.start_tuned()
    console.run_fire(sample_model, texts=('model_name', 'models_dir', 'run_name', 'checkpoint_dir', 'with_', 'topic', 'format'))
