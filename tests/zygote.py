"""Scripts out of a process that has imported TensorFlow and Matplotlib already, which is half of the time that a short run takes.

A test starts [*python(), 'train.py', ...] as it would start [sys.executable, 'train.py', ...]. That is this file as a client: it hands its
arguments, folder, environment and standard streams to a zygote, of which each test process has one and which forks itself for them; it passes
signals on, and it ends as the script does. Whoever kills the client kills the script. A script's own start is seen by the tests that use
sys.executable.
"""
import atexit
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@functools.cache
def python():
    """What stands before a script's path to start it."""
    if not hasattr(os, 'pidfd_open') or not hasattr(socket, 'send_fds'):            # Linux has both
        return [sys.executable]
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, 'zygote')
    zygote = subprocess.Popen([sys.executable, __file__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert zygote.stdout.readline() == b'ready\n'
    atexit.register(folder.cleanup)
    atexit.register(zygote.communicate)                 # which closes its stdin
    return [sys.executable, '-I', '-S', __file__, path]


def client(path, arguments):
    """Have the zygote at `path` run them, and end as they do."""
    with socket.socket(socket.AF_UNIX) as zygote:
        zygote.connect(path)
        request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(zygote, [len(request).to_bytes(4, 'big')], [0, 1, 2])
        zygote.sendall(request)
        answers = zygote.makefile()
        pid = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: os.kill(pid, number))
        status = int(answers.readline())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(path):
    """Listen at `path` until stdin is closed; returns (arguments, folder, environment, descriptors) in a process of its own for each request."""
    selector, listener = selectors.DefaultSelector(), socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    clients, children = {}, {}                          # connection -> pid; the pid's descriptor -> (pid, connection)
    os.write(1, b'ready\n')
    while True:
        for ready in (key.fileobj for key, _ in selector.select()):
            if ready == 0:
                os._exit(0)
            elif ready is listener:
                connection = listener.accept()[0]
                size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
                request = json.loads(connection.makefile('rb').read(int.from_bytes(size, 'big')))
                pid = os.fork()
                if not pid:
                    for held in (*clients, *children, connection, listener, selector):
                        os.close(held) if isinstance(held, int) else held.close()
                    return (*request, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                connection.sendall(b'%d\n' % pid)
                clients[connection], ended = pid, os.pidfd_open(pid)
                children[ended] = pid, connection
                selector.register(connection, selectors.EVENT_READ)
                selector.register(ended, selectors.EVENT_READ)
            elif ready in children:
                pid, connection = children.pop(ready)
                selector.unregister(ready)
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if clients.pop(connection, None):
                    selector.unregister(connection)
                    connection.sendall(b'%d\n' % status)
                connection.close()
            elif ready in clients:                      # nobody waits for it any more
                os.kill(clients.pop(ready), signal.SIGKILL)
                selector.unregister(ready)


def become(arguments, folder, environment, descriptors):
    """Go on as `python arguments...` does that was started there."""
    import numpy as np
    import runpy
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, (name, mode, buffering) in enumerate((('stdin', 'r', -1), ('stdout', 'w', -1), ('stderr', 'w', 1))):
        stream = open(number, mode, buffering, encoding='utf-8', errors='backslashreplace' if number == 2 else 'strict', closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f'__{name}__', stream)
    os.chdir(folder)
    kept = {name: os.environ[name] for name in ('GLIBC_TUNABLES', 'OPENBLAS_NUM_THREADS') if name in os.environ}        # so that it need not start over
    os.environ.clear()
    os.environ.update(environment | kept)
    np.random.seed()                                    # Python's own begins anew by itself
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.orig_argv[1:] = arguments
    if arguments[0] == '-c':
        code, arguments[:2] = arguments[1], ['-c']
        sys.argv[:], sys.path[0] = arguments, ''
        exec(code, {'__name__': '__main__'})
    else:
        sys.argv[:], sys.path[0] = arguments, os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name='__main__')


if __name__ == '__main__':
    if len(sys.argv) > 2:
        client(sys.argv[1], sys.argv[2:])
    sys.path.insert(1, ROOT)
    from src import console
    console.start_tuned()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    with console.quietly():
        import matplotlib.figure                        # noqa: F401
        import tensorflow                               # noqa: F401
    become(*serve(sys.argv[1]))
