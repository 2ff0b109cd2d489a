"""A text that goes on for as long as one likes, or the likeliest one, whatever generates it: sample.Generator or lite.Generator."""
import numpy as np

from .settings import Draw, Settings, check_settings


def stream(generator, context, settings=Settings(), *, length, seed=None, steps=32):
    """Yield `length` new tokens behind context [batch, n >= 1] in arrays [batch, at most `steps`].

    Beyond n_ctx the window slides: the newer half of what it held is read anew, and generation goes on.
    """
    check_settings(length=length, **settings._asdict())
    n_ctx = generator.hparams.n_ctx
    window = np.asarray(context, np.int32)[:, -n_ctx:]
    draws = [Draw(seed, row) for row in range(len(window))]
    prompt, cache = window.shape[1], None
    while length > 0:
        if cache is None or cache.lengths[0] == n_ctx:
            if cache is not None:
                prompt -= window.shape[1] - max(1, n_ctx // 2)
                window = window[:, -max(1, n_ctx // 2):]
            cache = generator.cache(len(window))
            generator.prefill(cache, window[:, :-1])
            cache.prompts[:] = prompt
        ids = generator.decode(cache, window[:, -1], draws, min(length, steps), settings)
        window = np.concatenate([window, ids], axis=1)
        length -= ids.shape[1]
        yield ids


def beam_search(generator, context, settings=Settings(), *, length, beams, stops=(-1,)):
    """The likeliest continuation of context [n >= 1] that `beams` beams find, by its length (logits.best_beam): a list of up to `length`
    ids, and no more than n_ctx has room for, where at least half of it is the context's; it ends with the first stop. Of the settings, the penalties and min_length count."""
    check_settings(length=length, **settings._asdict())
    n_ctx = generator.hparams.n_ctx
    context = np.asarray(context, np.int32)[-max(1, n_ctx - length, n_ctx // 2):]
    return generator.beam_search(context, settings, min(length, n_ctx - len(context)), beams, stops)
