#!/usr/bin/env python3
"""Write texts out of nothing: from <|endoftext|> on, or from the first token where a vocabulary has none.

    python src/generate_unconditional_samples.py --model_name 124M --top_k 40
    python src/generate_unconditional_samples.py --run_name run1 --nsamples 3 --length 200        fake conversations
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from src import console, files                                           # noqa: E402


def sample_model(model_name='124M', seed=None, nsamples=0, batch_size=1, length=None, temperature=1, top_k=0, top_p=1,
                 models_dir='models', run_name=None, checkpoint_dir='checkpoint', verbose=False):
    """Write texts out of nothing.

    Args:
        model_name: a model in models_dir, or the path of a model folder, run folder or checkpoint.
        seed: a whole number; the same one gives the same texts. Default: another every time.
        nsamples: texts to write; 0: go on until Ctrl-C.
        batch_size: texts made at a time.
        length: tokens of a text. Default: what the model sees at once (n_ctx); beyond that the window slides.
        temperature: below 1 more predictable, above 1 wilder, 0 always the likeliest token.
        top_k: draw from so many likeliest tokens; 0: off.
        top_p: draw from the likeliest tokens that reach this probability; 0 and 1: off. Both apply when both are given.
        models_dir: the folder of the models.
        run_name: a run of train.py, instead of a model.
        checkpoint_dir: the folder of the runs.
        verbose: show TensorFlow's own messages.
    """
    place = files.find_model(model_name, models_dir, run_name, checkpoint_dir)
    console.import_tensorflow(verbose)
    from src import checkpoint, encoder, sample
    hparams, params = checkpoint.load(place)
    enc = encoder.get_encoder(files.folder_of(place))
    length = hparams.n_ctx if length is None else length
    sample.check_settings(temperature, top_k, top_p, length, batch_size, nsamples, seed)
    seed = sample.fresh_seed() if seed is None else seed
    made = 0
    while nsamples == 0 or made < nsamples:
        batch = min(batch_size, nsamples - made) if nsamples else batch_size
        out = sample.sample_sequence(hparams, params, length=length, start_token=enc.eot or 0, batch_size=batch,
                                     temperature=temperature, top_k=top_k, top_p=top_p, seed=[seed, made])
        for ids in out[:, 1:]:
            made += 1
            print('=' * 40 + f' SAMPLE {made} ' + '=' * 40)
            print(enc.decode(ids), flush=True)


if __name__ == '__main__':
    console.run_fire(sample_model)
