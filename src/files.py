"""Whole files or none: what is written goes to a temporary name, is flushed to the disk, and is then renamed.

A process killed at any moment leaves the last good file; a full disk leaves it too, and the temporary one is removed.
"""
import contextlib
import glob
import hashlib
import os
import re
import tempfile

from .console import UserError

try:
    import fcntl
except ImportError:                                     # Windows: two at once are not kept apart
    fcntl = None

OURS = 'gpt2-chat'                                      # the name of our folders among the user's
OLD_NAMES = {'117M': '124M', '345M': '355M'}          # what OpenAI called them at first


@contextlib.contextmanager
def whole(path, mode='wb', **options):
    """Open a temporary file beside `path`; it becomes `path` when the block ends well, and is removed when it does not.

    with whole('run1/counter', 'w') as f: f.write('7\\n')
    """
    if os.path.exists(path) and not os.path.isfile(path) or str(path).endswith(('/', os.sep)):
        raise UserError(f'{path} is a folder or a device: name the file to write.')
    folder = os.path.dirname(path) or '.'
    os.makedirs(folder, exist_ok=True)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix='.' + os.path.basename(path) + '.', suffix='.part')
    except OSError as error:
        error.filename = path
        raise
    try:
        os.chmod(temporary, 0o666 & ~_umask())         # mkstemp's 0600 is for secrets; these are ordinary files
        with open(descriptor, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename is None:       # a full disk: the user knows this name, not the temporary one
            error.filename = path
        raise
    sync_folder(folder)


@contextlib.contextmanager
def alone(folder, other):
    """Keep a second one, called `other`, out of `folder`: two would write to the same files. The lock dies with its process. Raises UserError."""
    if not fcntl:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f'{folder}: {other} is writing there; wait until it ends.') from None
    except OSError:                                     # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder):
    """Make renames in `folder` durable; a no-op where folders cannot be opened (Windows)."""
    if os.name == 'posix':
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def expand(path):
    """A file, a folder (every file under it) or a glob -> sorted list of file paths, hidden ones left out.

    Raises UserError when nothing is there.
    """
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        found = []
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith('.')]
            found += [os.path.join(folder, name) for name in names if not name.startswith('.')]
        found.sort()
        if not found:
            raise UserError(f'{path}: the folder holds no files.')
        return found
    found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if not found:
        raise UserError(f'{path}: there is no such file, folder or pattern; check the path (you are in {os.getcwd()}).')
    return found


def model_folder(name, models_dir='models'):
    """The folder of a model: models_dir/name, or `name` itself when that is a folder (a run, or a path), as one that begins with ./ or ../ always is.

    117M and 345M are the old names of 124M and 355M. Raises UserError naming the models that are there.
    """
    if re.match(r'\.\.?([/\\]|$)', name):
        if os.path.isdir(name):
            return name
        raise UserError(f'{name}: there is no such folder; check the path (you are in {os.getcwd()}).')
    for candidate in (name, OLD_NAMES.get(name, name)):
        folder = os.path.join(models_dir, candidate)
        if os.path.isdir(folder):
            return folder
    if os.path.isdir(name):
        return name
    raise UserError(f'there is no model {name} in {models_dir}/ (there: {_folders(models_dir)}); '
                    f'python download_model.py 124M fetches one{_elsewhere(models_dir, "--models_dir")}.')


def find_model(model_name, models_dir='models', run_name=None, checkpoint_dir='checkpoint'):
    """Where the weights are that a user names: a run's folder when run_name is given, else a model's folder or a checkpoint prefix.

    Raises UserError naming the runs or models that are there.
    """
    if run_name is not None:
        folder = os.path.join(checkpoint_dir, str(run_name))
        if os.path.isdir(folder):
            return folder
        raise UserError(f'there is no run {run_name} in {checkpoint_dir}/ (there: {_folders(checkpoint_dir)}); '
                        f'train.py makes one{_elsewhere(checkpoint_dir, "--checkpoint_dir")}.')
    if os.path.isfile(f'{model_name}.index'):
        return model_name
    return model_folder(str(model_name), models_dir)


def folder_of(place):
    """The folder of what find_model found."""
    return place if os.path.isdir(place) else os.path.dirname(place) or '.'


def _folders(path):
    """The names of the folders in a folder, for a message."""
    return ', '.join(sorted(entry.name for entry in os.scandir(path) if entry.is_dir()) if os.path.isdir(path) else []) or 'none'


def _elsewhere(path, flag):
    """Where else a folder that is not there may be, for a message."""
    return '' if os.path.isdir(path) else f', and {flag} names a folder elsewhere (you are in {os.getcwd()})'


def is_in(path, folder):
    """Whether `path` lies in `folder`, by whatever names."""
    return os.path.samefile(os.path.dirname(path) or '.', folder)


def is_one_of(path, others):
    """Whether `path` is one of these files, by whatever names."""
    return os.path.exists(path) and any(os.path.samefile(path, other) for other in others)


def sha256(*paths):
    """Of the files' bytes, one after the other, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, 'rb') as file:
            digest.update(file.read())
    return digest.hexdigest()
