"""What makes the tokens of a model on this machine: LiteRT on a CPU, TensorFlow's XLA on a GPU."""
import os
import sys

from . import console, folders, lite
from .console import UsageError

PRECISIONS = ('auto', 'int8', 'bfloat16', 'float32')    # of the weights
# Where Linux shows GPUs, and which build of TensorFlow computes on them: NVIDIA's, also for Linux in Windows; AMD's, which many laptops have.
GPUS = {'/dev/nvidiactl': 'is_cuda_build', '/usr/lib/wsl/lib/libcuda.so.1': 'is_cuda_build', '/dev/kfd': 'is_rocm_build'}


def open_generator(place, models_dir='models', precision='auto', verbose=False, drafted=True):
    """The model that files.find_model found -> (its lite.Generator or sample.Generator, what to say of its weights).

    precision: one of PRECISIONS; auto: int8 on a CPU, where it is twice as fast as float32 and within a percent as good; on a GPU bfloat16 where it
    computes in that, else float32. bfloat16 is XLA's everywhere. drafted: whether a single text may go on by guesses (lite.generator).
    """
    if precision not in PRECISIONS:
        raise UsageError(f'--precision {precision} is out of range: it takes {", ".join(PRECISIONS)}.')
    if precision == 'int8' or precision != 'bfloat16' and not finds_gpu(verbose):
        wanted = 'int8' if precision == 'auto' else precision
        try:
            return lite.generator(folders.resolve(place, models_dir)[1], models_dir, wanted, drafted), f'{wanted} weights on the CPU'
        except (OSError, AttributeError, ImportError, TypeError) as error:          # a folder of others; another TensorFlow than it was written for
            print(f'(no {wanted} weights: {error})', file=sys.stderr)
    console.import_tensorflow(verbose)
    from . import checkpoint, sample
    precision = console.gpu_precision() if precision == 'auto' else 'bfloat16' if precision == 'bfloat16' else 'float32'
    return sample.Generator(*checkpoint.load(place, models_dir), precision), f'{precision} weights'


def finds_gpu(verbose=False):
    """Whether TensorFlow finds a GPU. It is asked only where there is one for which it was built: asking takes seconds."""
    needed = {build for path, build in GPUS.items() if os.path.exists(path)}
    if not needed or not any(map(console.part_of_tensorflow('python.platform.build_info').build_info.get, needed)):
        return False
    found = bool(console.import_tensorflow(verbose).config.list_physical_devices('GPU'))
    if not found:
        print('(TensorFlow does not find the GPU of this machine, so the CPU is taken; README says what it needs, --verbose what it says itself)', file=sys.stderr)
    return found
