"""Workers without TensorFlow: how they meet, what they compare, and how they learn that one is gone."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import free_addresses

from src import workers
from src.console import UserError

# argv: addresses, index, and how it ends: fails, leaves, saves (leaves later than the others) or waits
WORKER = '''
import sys, time
from src import workers
from src.console import UserError
workers.BEAT, workers.SILENCE = 0.2, 3
w = workers.Workers(sys.argv[1].split(','), int(sys.argv[2]))
w.meet(); w.agree({}); w.watch()
print('training', flush=True)
time.sleep({'waits': 60, 'saves': 3}.get(sys.argv[3], 1))
w.leave(UserError('the disk is full.') if sys.argv[3] == 'fails' else None)
'''


def outcomes(*calls):
    """What each call gives or raises, all of them at once, each in a thread of its own."""
    found = [None] * len(calls)

    def run(i):
        try:
            found[i] = calls[i]()
        except UserError as error:
            found[i] = str(error)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return found


def meet_and_agree(worker, same, told=None):
    worker.meet(seconds=10)
    return worker.agree(same, told)


def test_all_meet_and_are_told_what_the_chief_says():
    addresses = free_addresses(3)
    assert outcomes(*[lambda i=i: meet_and_agree(workers.Workers(addresses, i), {'seed': None, 'list': (1, 2)}, {'seed': 7 + i}) for i in range(3)]) == [{'seed': 7}] * 3


def test_a_difference_is_told_to_all():
    addresses = free_addresses(3)
    found = outcomes(*[lambda i=i: meet_and_agree(workers.Workers(addresses, i), {'--batch_size': 8 + (i == 2)}) for i in range(3)])
    assert found == [f'worker 2 ({addresses[2]}) has --batch_size 9, worker 0 ({addresses[0]}) has 8: they must have the same.'] * 3


def test_other_addresses_are_refused():
    a, b, c = free_addresses(3)
    found = outcomes(lambda: meet_and_agree(workers.Workers([a, b], 0), {}), lambda: meet_and_agree(workers.Workers([a, c], 1), {}))
    assert found == [f'a worker was started with --workers {a},{c}, worker 0 with {a},{b}: give all the same.'] * 2


def test_the_last_word_to_one_that_has_left_already():
    """The watch forgets a worker as soon as it has left, which may be while this one says that it leaves too."""
    worker = workers.Workers(['alpha:1', 'beta:1', 'gamma:1'], 0)

    class Last:
        def sendall(self, data):
            worker._peers.pop(2, None)

    worker._peers = {1: Last(), 2: Last()}
    worker.leave()
    assert list(worker._peers) == [1]


def test_strangers_are_let_go():
    addresses = free_addresses(2)

    def knock():
        time.sleep(0.3)
        for words in (b'GET / HTTP/1.1\r\n\r\n', b'{"worker": [1], "workers": 3}\n', b'[]\n', b'', b'\xff\n'):
            with socket.create_connection(('127.0.0.1', int(addresses[0].split(':')[1]))) as stranger:
                stranger.sendall(words)
        return meet_and_agree(workers.Workers(addresses, 1), {})
    assert outcomes(lambda: meet_and_agree(workers.Workers(addresses, 0), {}, 'hello'), knock) == ['hello'] * 2


def test_a_worker_that_is_back_first_waits_for_the_new_chief():
    """Until the old chief has ended, TensorFlow's server answers at its port, and hangs up."""
    addresses = free_addresses(2)
    server = socket.create_server(('127.0.0.1', int(addresses[0].split(':')[1])))

    def hang_up():
        for _ in range(2):
            server.accept()[0].close()
        server.close()
        return meet_and_agree(workers.Workers(addresses, 0), {}, 'hello')
    assert outcomes(hang_up, lambda: meet_and_agree(workers.Workers(addresses, 1), {})) == ['hello'] * 2


@pytest.mark.parametrize('end, words', [
    ('kill', 'error: worker 1 ({}) has died. What came after the last checkpoint is lost'), ('fails', 'error: worker 1 ({}) stopped: the disk is full. What came'),
    ('stop', 'error: worker 1 ({}) has given no sign of life for 3 s. What came'), ('leaves', '')])
def test_the_others_learn_how_a_worker_ends(end, words):
    addresses = free_addresses(3)
    what = ['waits', end if end == 'fails' else 'waits', 'waits'] if words else ['saves', 'leaves', 'leaves']
    processes = [subprocess.Popen([sys.executable, '-c', WORKER, ','.join(addresses), str(i), what[i]], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  cwd=os.path.dirname(os.path.dirname(os.path.abspath(workers.__file__)))) for i in range(3)]
    for process in processes:
        assert process.stdout.readline() == 'training\n'
    if end in ('kill', 'stop'):
        processes[1].send_signal(signal.SIGKILL if end == 'kill' else signal.SIGSTOP)
    for process in (processes[0], processes[2]):
        _, errors = process.communicate(timeout=30)
        assert words.format(addresses[1]) in errors and process.returncode == (1 if words else 0), errors
    processes[1].kill()
    processes[1].wait()
