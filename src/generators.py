"""What makes the tokens of a model on this machine: LiteRT on a CPU, TensorFlow's XLA on a GPU."""
import os
import sys

from . import console, folders, lite
from .console import UsageError

PRECISIONS = ('auto', 'int8', 'bfloat16', 'float32')    # of the weights
GPUS = '/dev/nvidiactl', '/dev/kfd', '/usr/lib/wsl/lib/libcuda.so.1'    # where Linux shows NVIDIA's and AMD's, and Linux in Windows NVIDIA's


def open_generator(place, models_dir='models', precision='auto', verbose=False, drafted=True):
    """The model that files.find_model found -> (its lite.Generator or sample.Generator, what to say of its weights).

    precision: one of PRECISIONS; auto: int8 on a CPU, where it is twice as fast as float32 and within a percent as good; on a GPU bfloat16 where it
    computes in that, else float32. bfloat16 is XLA's everywhere. drafted: whether a single text may go on by guesses (lite.generator).
    """
    if precision not in PRECISIONS:
        raise UsageError(f'--precision {precision} is out of range: it takes {", ".join(PRECISIONS)}.')
    if precision == 'int8' or precision != 'bfloat16' and not any(map(os.path.exists, GPUS)):
        wanted = 'int8' if precision == 'auto' else precision
        try:
            return lite.generator(folders.resolve(place, models_dir)[1], models_dir, wanted, drafted), f'{wanted} weights on the CPU'
        except (OSError, AttributeError, ImportError, TypeError) as error:          # a folder of others; another TensorFlow than it was written for
            print(f'(no {wanted} weights: {error})', file=sys.stderr)
    console.import_tensorflow(verbose)
    from . import checkpoint, sample
    precision = console.gpu_precision() if precision == 'auto' else 'bfloat16' if precision == 'bfloat16' else 'float32'
    return sample.Generator(*checkpoint.load(place, models_dir), precision), f'{precision} weights'
