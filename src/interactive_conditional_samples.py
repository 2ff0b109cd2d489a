#!/usr/bin/env python3
"""Continue the texts that you type, or that come from a pipe.

    python src/interactive_conditional_samples.py --model_name 124M --top_k 40
    echo 'Mara: hi' | python src/interactive_conditional_samples.py --run_name run1 --length 60
"""
import itertools
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from src import console, dialogue, encoder, files, folders, generators   # noqa: E402
from src.settings import Settings, check_settings, fresh_seed            # noqa: E402
from src.stream import beam_search, stream                               # noqa: E402


def interact_model(model_name='124M', seed=None, nsamples=1, batch_size=1, length=None, temperature=1, top_k=0, top_p=1,
                   models_dir='models', run_name=None, checkpoint_dir='checkpoint',
                   min_p=0, typical_p=1, repetition_penalty=1, frequency_penalty=0, presence_penalty=0, no_repeat_ngram_size=0,
                   num_beams=1, precision='auto', verbose=False):
    """Continue the texts that you type, or that come from a pipe.

    Args:
        model_name: a model in models_dir, or the path of a model folder, run folder or checkpoint.
        seed: a whole number; the same one, with the same batch_size, gives the same texts. Default: another every time.
        nsamples: continuations of each prompt; a multiple of batch_size.
        batch_size: continuations made at a time.
        length: tokens of a continuation. Default: half of what the model sees at once (n_ctx // 2); beyond that the window slides.
        temperature: below 1 more predictable, above 1 wilder, 0 always the likeliest token.
        top_k: draw from so many likeliest tokens; 0: off.
        top_p: draw from the likeliest tokens that reach this probability; 0 and 1: off. Both apply when both are given.
        models_dir: the folder of the models.
        run_name: a run of train.py, instead of a model.
        checkpoint_dir: the folder of the runs.
        min_p: only tokens at least so many times as likely as the likeliest; 0: off.
        typical_p: only the most typical tokens that reach this probability (locally typical sampling); 0 and 1: off.
        repetition_penalty: above 1, what was said becomes less likely; 1: off.
        frequency_penalty: taken from a token's logit for each time it was made, -2 to 2; 0: off.
        presence_penalty: taken from a token's logit once it was made, -2 to 2; 0: off.
        no_repeat_ngram_size: no run of so many tokens comes twice; 0: off.
        num_beams: above 1, find the likeliest continuation with so many beams (beam search) instead of drawing one; prompt and it fit into n_ctx.
        precision: of the weights: int8, bfloat16, float32, or auto: int8 on a CPU, bfloat16 on a GPU that computes in it.
        verbose: show TensorFlow's own messages.
    """
    place = files.find_model(model_name, models_dir, run_name, checkpoint_dir)
    folder = files.folder_of(place)
    enc, style = encoder.get_encoder(folder), dialogue.style_of(folders.read_dialogue(folder))
    generator, _ = generators.open_generator(place, models_dir, precision, verbose)
    n_ctx = generator.hparams.n_ctx
    length = n_ctx // 2 if length is None else length
    settings = Settings(temperature, top_k, top_p, min_p, typical_p, repetition_penalty, frequency_penalty, presence_penalty, no_repeat_ngram_size)
    check_settings(length=length, batch_size=batch_size, nsamples=nsamples, seed=seed, **settings._asdict())
    length, batch_size, nsamples = int(length), int(batch_size), int(nsamples)         # which may be written as 5.0 or 1e2
    if num_beams != 1 and (not isinstance(num_beams, int) or num_beams < 1 or nsamples != 1):
        raise console.UsageError(f'--num_beams {num_beams} with --nsamples {nsamples}: it takes a whole number from 1 up, and above 1 makes one sample.')
    if nsamples % batch_size:
        raise console.UsageError(f'--nsamples {nsamples} is no multiple of --batch_size {batch_size}.')
    seed = fresh_seed() if seed is None else seed
    for number in itertools.count():
        while not (prompt := console.read_line('Model prompt >>> ')):
            if prompt is None:
                return
            print('Prompt should not be empty!')
        context = style.prompt_ids(enc, prompt)[-n_ctx:]
        for first in range(0, nsamples, batch_size):
            if num_beams > 1:
                made = [beam_search(generator, context, settings, length=length, beams=num_beams)]
            else:
                made = np.concatenate(list(stream(generator, [context] * batch_size, settings, length=length, seed=[seed, number, first])), axis=1)
            for i, ids in enumerate(made, first + 1):
                print('=' * 40 + f' SAMPLE {i} ' + '=' * 40)
                print(enc.decode(ids))
        print('=' * 80, flush=True)


if __name__ == '__main__':
    console.start_tuned()
    console.run_fire(interact_model, texts=('model_name', 'models_dir', 'run_name', 'checkpoint_dir'))
