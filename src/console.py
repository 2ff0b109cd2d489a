"""What every script shares at its edge: errors as one sentence, exit codes, what of a text may reach a terminal, a quiet TensorFlow.

Library code raises UserError with a sentence that names the file or value and the way out; `run` prints it.
Anything else that escapes is our bug and keeps its traceback.
"""
import argparse
import contextlib
import ctypes
import difflib
import errno
import importlib.util
import inspect
import keyword
import os
import re
import sys
import tempfile
import types

import fire


class UserError(ValueError):
    """Something the user can put right. The message is one sentence that says how."""


class UsageError(UserError):
    """A flag or argument that cannot be: exit status 2, as argparse has it."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The description as written, and each flag with its default."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=34, width=110)

    def _get_help_string(self, action):
        """A default of nothing, or one that the help itself explains, is not shown."""
        said = action.default is None or action.default in ([], '') or 'default:' in action.help
        return action.help if said else super()._get_help_string(action)


MALLOC = 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8388608:glibc.malloc.arena_max=1'


def start_tuned():
    """Start this program over with what glibc's malloc only takes at the start: huge pages, which make reading weights and writing
    activations faster, and large blocks given back as soon as they are free; and with NumPy's products in the threads that ask for
    them, which share the work already (lite.py). For programs that hold a model."""
    with contextlib.suppress(AttributeError, ValueError):                           # no glibc here
        if os.confstr('CS_GNU_LIBC_VERSION') and 'GLIBC_TUNABLES' not in os.environ:
            os.environ['GLIBC_TUNABLES'] = MALLOC
            os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def spare_pool():
    """Before TensorFlow is imported: what it frees goes back to malloc, not to a pool that keeps it."""
    os.environ.setdefault('TF_ONEDNN_USE_SYSTEM_ALLOCATOR', 'true')


def trim_malloc():
    """Give back to the system what malloc keeps of what was freed."""
    with contextlib.suppress(AttributeError, TypeError):                            # no glibc here
        ctypes.CDLL(None).malloc_trim(0)


def free_at_once():
    """From now on malloc gives blocks of 256 KB and more back to the system as soon as they are free: less memory, up to a tenth more time."""
    with contextlib.suppress(AttributeError, TypeError):                            # no glibc here
        ctypes.CDLL(None).mallopt(-3, 1 << 18)                                      # M_MMAP_THRESHOLD


FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG         # of a disk


def run(main):
    """Call main() and exit: 0, 1 (could not do it), 2 (asked wrongly), 130 (Ctrl-C); never a traceback for a user's mistake."""
    for number, name in (1, 'stdout'), (2, 'stderr'):   # closed, as some who start programs do
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, open(number, 'w', closefd=False))
    for stream in (sys.stdin, sys.stdout):              # text that a terminal or pipe cannot take is no reason to stop
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='replace')
    try:
        status = main()
    except UserError as error:
        status = fail(f'error: {error}', 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:                             # `... | head`: whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = 'the output'
        if error.filename is None:                      # not about the user's files: our bug
            raise
        status = fail(f'error: {describe(error)}', 1)
    except KeyboardInterrupt:
        status = fail('interrupted', 130)
    sys.exit(status)


def fail(message, status):
    """Print `message`, in which somebody's names may stand, on stderr behind what stdout still holds; return `status`."""
    sys.stdout.flush()
    print(shown(message), file=sys.stderr)
    return status


def describe(error):
    """An OSError as one sentence with the file and the way out."""
    way_out = {errno.ENOENT: 'there is no such file; check the path',
               errno.EACCES: 'permission denied; check who owns it, or choose another folder',
               errno.EPERM: 'permission denied; check who owns it, or choose another folder',
               errno.EROFS: 'the file system is read-only; choose another folder',
               errno.EISDIR: 'this is a folder, a file was expected',
               errno.EEXIST: 'a file of this name is in the way, a folder was expected',
               errno.ENOTDIR: 'a part of this path is a file, a folder was expected',
               errno.ENOSPC: 'no space left on the device; free some and run the same command again, what was there before is untouched',
               errno.EFBIG: 'the file grew larger than this system allows; what was there before is untouched',
               errno.EDQUOT: 'the disk quota is used up; free some space and run the same command again'}
    return f'{error.filename}: {way_out.get(error.errno, (error.strerror or str(error)).lower())}.'


# Control characters, and those that make a terminal show text in another order than it has.
STEERING = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


def shown(text):
    """`text` as it may be printed: what would steer the terminal is U+FFFD."""
    return STEERING.sub('\ufffd', text)


def in_line(text):
    """The same for a name or a title, which takes one line."""
    return shown(re.sub(r'\s+', ' ', text))


def read_line(prompt):
    """What the user types, or None at the end of input (on a line of its own, so that what follows starts cleanly)."""
    try:
        return input(prompt).removesuffix('\r')         # of a line that Windows has written, through a pipe
    except (EOFError, RuntimeError):                    # RuntimeError: stdin is closed
        print()
        return None


def run_fire(function, texts):
    """run, for a script whose flags are a function's arguments (python-fire). Unknown flags, and words behind a flag's value, are told before anything runs.

    texts: the arguments that are taken as typed; fire would make a number of "0042" and drop what follows a #.
    """
    known = list(inspect.signature(function).parameters)
    for i, word in enumerate(sys.argv):
        name = word[2:].split('=')[0].replace('-', '_')
        if word.startswith('--') and keyword.iskeyword(name):           # --with: an argument of Python cannot have this name
            name += '_'
            sys.argv[i] = '--' + '='.join([name, *word.split('=')[1:]])
        if i and word.startswith('--') and name and not {name, name.removeprefix('no')} & {*known, 'help'}:
            near = [match.rstrip('_') for match in difflib.get_close_matches(name, known, 1)]
            sys.exit(fail(f'error: there is no flag --{name}{f", did you mean --{near[0]}?" if near else ";"} --help shows those there are.', 2))
        if word.startswith('--') and '=' not in word and name in texts and [*sys.argv, '--'][i + 1].startswith('--'):           # fire would take True
            sys.exit(fail(f'error: --{name.rstrip("_")} needs a value: --{name.rstrip("_")} "...".', 2))
        asked = [bool(re.match('--?[a-zA-Z]', each)) for each in sys.argv[1:i]]
        if any(asked) and not word.startswith('-') and not (asked[-1] and '=' not in sys.argv[i - 1]):        # fire would make it the value of another argument
            sys.exit(fail(f'error: {word} belongs to no flag: a value of several words needs quotes around it; --help shows the flags there are.', 2))
    fire.decorators.FIRE_METADATA = '_metadata'         # help shows every attribute of the function, but for those with an underscore
    run(lambda: fire.Fire(fire.decorators.SetParseFns(**dict.fromkeys(texts, str))(function)))


def positive_int(text):
    """argparse type: a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is out of range: a whole number from 1 up')
    return value


def count(text):
    """argparse type: a whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{value} is out of range: a whole number from 0 up')
    return value


def fraction(text):
    """argparse type: a number in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{value} is out of range: a number from 0 to 1')
    return value


def below_1(text):
    """argparse type: a number in [0, 1)."""
    value = fraction(text)
    if value == 1:
        raise argparse.ArgumentTypeError(f'{value} is out of range: a number from 0 to below 1')
    return value


def positive_float(text):
    """argparse type: a finite number above 0."""
    value = float(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{value} is out of range: a number above 0')
    return value


def nonnegative_float(text):
    """argparse type: a finite number, 0 or above."""
    value = float(text)
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'{value} is out of range: a number from 0 up')
    return value


def import_tensorflow(verbose=False, before=lambda tf: None):
    """Import TensorFlow and start its devices with GPU memory growth; its chatter reaches the user only if `verbose`.
    before(tf) is called when its devices have not started yet.

    TensorFlow's C++ side writes to file descriptor 2 before any of its log settings apply.
    """
    if verbose:
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '0')
        return _start_tensorflow(before)
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    with quietly():
        return _start_tensorflow(before)


@contextlib.contextmanager
def quietly(tell=True):
    """What is written to file descriptor 2, by libraries in C++, reaches the user only if the block fails, and not even then unless `tell`."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        try:
            os.dup2(aside.fileno(), 2)
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read() if tell else b'')
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _absent(*names):
    """Whoever imports these modules within the block is told that there are none, unless they are imported already."""
    absent = set(names) - set(sys.modules)
    sys.modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _start_tensorflow(before):
    with _absent('matplotlib', 'IPython', 'pandas'):    # Keras imports them where they are, for pictures and tables that we do not ask of it: a fifth of the time
        import tensorflow as tf
    tf.get_logger().setLevel('ERROR')
    for gpu in tf.config.list_physical_devices('GPU'):
        with contextlib.suppress(RuntimeError):         # already started: keeps the growth it was started with
            tf.config.experimental.set_memory_growth(gpu, True)
    before(tf)
    tf.zeros([]).numpy()                                # the first operation starts the devices, and they talk too
    return tf


def part_of_tensorflow(name):
    """The module tensorflow.<name>, without TensorFlow around it; the one that is there, should TensorFlow have loaded it. For a process that
    needs no more than some of its modules: its packages are empty while they are imported, and absent afterwards."""
    name = 'tensorflow.' + name
    if name not in sys.modules:
        root, empty = importlib.util.find_spec('tensorflow').submodule_search_locations[0], []
        for i in range(1, len(path := name.split('.'))):
            package = '.'.join(path[:i])
            if package not in sys.modules:
                empty.append(package)
                sys.modules[package] = types.ModuleType(package)
                sys.modules[package].__path__ = [os.path.join(root, *path[1:i])]
        try:
            importlib.import_module(name)
        finally:
            for package in empty:
                del sys.modules[package]
    return sys.modules[name]


def gpu_precision():
    """What this machine's GPUs compute fastest in without harm: bfloat16 where all have it (compute capability 8.0 and up), else float32; so without a GPU."""
    import tensorflow as tf
    gpus = tf.config.list_physical_devices('GPU')
    capable = [tf.config.experimental.get_device_details(gpu).get('compute_capability', (0, 0)) >= (8, 0) for gpu in gpus]
    return 'bfloat16' if capable and all(capable) else 'float32'
