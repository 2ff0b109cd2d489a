"""The processes that train one model together, one on each host: who they are, that all are there, and what becomes of them when one dies.

    --workers alpha:2222,beta:2222 --worker_index 1, or TF_CONFIG    -> Workers: meet, agree, strategy, watch, leave

The first worker is the chief: it alone writes. Every other one keeps a connection to it, over which they compare what they were started
with, tell each other every BEAT seconds that they live, and say why they end. A message is a line of JSON. TensorFlow's own server takes
over the port once all have met.
"""
import contextlib
import functools
import json
import os
import select
import socket
import sys
import threading
import time

from .console import UsageError, UserError

BEAT, SILENCE = 2, 40       # seconds: between signs of life; until a worker that gives none counts as dead
LONGEST_START = 3600                                    # seconds that one may need more than another until they compare


def from_flags(workers, index, environ=os.environ):
    """The Workers of --workers and --worker_index, or of TF_CONFIG; None where neither names more than one. Raises UsageError."""
    if (workers is None) != (index is None):
        raise UsageError('--workers host:port,host:port and --worker_index belong together: the index says which of the workers this process is.')
    if workers is not None:
        addresses = [address.strip() for address in workers.split(',')]
    elif environ.get('TF_CONFIG'):
        try:
            config = json.loads(environ['TF_CONFIG'])
            jobs, task = config['cluster'], config['task']
            addresses = jobs.get('chief', []) + jobs.get('worker', [])
            index = {'chief': 0, 'worker': len(jobs.get('chief', []))}[task['type']] + int(task['index'])
            if not addresses or not all(isinstance(address, str) for address in addresses):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f'TF_CONFIG must be {{"cluster": {{"worker": ["host:port", ...]}}, "task": {{"type": "worker", "index": 0}}}}, '
                             f'not {environ["TF_CONFIG"]}; or give --workers and --worker_index.') from None
    else:
        return None
    for address in addresses:
        host, _, port = address.rpartition(':')
        if not host or not (port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            raise UsageError(f'--workers: {address!r} is not host:port, with a port from 1 to 65535.')
    if len(set(addresses)) < len(addresses):
        raise UsageError(f'--workers {",".join(addresses)} names an address twice.')
    if not 0 <= index < len(addresses):
        raise UsageError(f'--worker_index {index} is out of range: {len(addresses)} workers have the numbers 0 to {len(addresses) - 1}.')
    return Workers(addresses, index) if len(addresses) > 1 else None


class Workers:
    """All workers' addresses, which of them this process is, and its connections: the chief's to all others, everyone else's to the chief."""

    def __init__(self, addresses, index):
        self.addresses, self.index, self.chief = addresses, index, index == 0
        self._peers, self._received = {}, {}            # worker: its connection; what came of a line that is not whole yet
        self._reason = None                             # why this process must end

    def name(self, i):
        """How messages call worker i."""
        return f'worker {i} ({self.addresses[i]})'

    # ---- before training

    def meet(self, seconds=300):
        """Return when every worker is connected. Raises UserError, on all that are there, when one is not within `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            listening = socket.create_server(('', self._place(self.index)[1]), backlog=len(self.addresses))
        except OSError as error:
            raise UserError(f'the port of {self.name(self.index)} cannot be opened: {os.strerror(error.errno).lower()}; '
                            'end what uses it, or name another in --workers.') from None
        with listening:
            self._gather(listening, deadline) if self.chief else self._connect(deadline, seconds)
        missing = [self.name(i) for i in range(1, len(self.addresses)) if self.chief and i not in self._peers]
        if missing:
            self._stop(f'{", ".join(missing)} did not come within {seconds:.0f} s: start every worker with the same --workers, '
                       f'and see that each can reach {self.addresses[0]}.')

    def _gather(self, listening, deadline):
        while len(self._peers) < len(self.addresses) - 1 and (left := deadline - time.monotonic()) > 0:
            listening.settimeout(left)
            try:
                peer, _ = listening.accept()
                peer.settimeout(5)
                hello = self._line(peer)
                i, addresses = int(hello['worker']), list(hello['workers'])
            except (OSError, ValueError, KeyError, TypeError):          # nobody, or a stranger
                continue
            other = self._peers.get(i)
            self._peers[i] = peer
            if addresses != self.addresses:
                self._stop(f'a worker was started with --workers {",".join(map(str, addresses))}, worker 0 with {",".join(self.addresses)}: give all the same.')
            if other or i == 0:
                self._stop(f'two workers were started with --worker_index {i}: give each its own.')
            self._send(i, {'welcome': True})

    def _connect(self, deadline, seconds):
        """Also where the chief of a run that ends just now still answers: TensorFlow's server hangs up, the next chief says welcome."""
        while True:
            try:
                self._peers[0] = socket.create_connection(self._place(0), timeout=5)
                self._send(0, {'worker': self.index, 'workers': self.addresses})
                self._peers[0].settimeout(max(5, deadline - time.monotonic()))
                answer = self._line(self._peers[0])
                break
            except (OSError, ValueError) as error:
                if time.monotonic() > deadline:
                    reason = getattr(error, 'strerror', None) or error
                    raise UserError(f'{self.name(0)} did not answer within {seconds:.0f} s ({reason}): start every worker '
                                    'with the same --workers, and see that its port can be reached from here.') from None
                time.sleep(0.5)
        if 'ended' in answer:
            raise UserError(answer['ended'])

    def agree(self, same, told=None):
        """Compare `same`, {name: value that JSON takes}, with the chief's, and return what the chief gives as `told`.

        Every worker calls it. Raises UserError, on all of them, when two differ or one ends.
        """
        if not self.chief:
            self._send(0, {'same': same})
            return self._receive(0, LONGEST_START)['told']
        for i in self._peers:
            theirs = self._receive(i, LONGEST_START)['same']
            for name, value in json.loads(json.dumps(same)).items():
                if theirs.get(name) != value:
                    self._stop(f'{self.name(i)} has {name} {theirs.get(name)}, {self.name(0)} has {value}: they must have the same.')
        for i in self._peers:
            self._send(i, {'told': told})
        return told

    def strategy(self, gpus):
        """The tf.distribute.MultiWorkerMirroredStrategy over `gpus` GPUs of each worker; 0: over their CPUs.

        TensorFlow's server starts here: no operation may have run before.
        """
        import tensorflow as tf
        from tensorflow.python.eager.context import context
        configure = context().configure_coordination_service            # which ends all after 10 s without a heartbeat; `watch` bears with more
        context().configure_coordination_service = functools.partial(configure, heartbeat_timeout_in_ms=24 * 3600 * 1000)
        return tf.distribute.MultiWorkerMirroredStrategy(tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({'worker': self.addresses}), task_type='worker', task_id=self.index, num_accelerators={'GPU': gpus}, rpc_layer='grpc'))

    # ---- while training

    def watch(self):
        """From now on end this process, with a sentence that names the worker, when one dies, or stops for an error."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        silent = dict.fromkeys(self._peers, 0)          # rounds without a word, and not seconds: hosts that are put to sleep together wake together
        while self._peers and self._reason is None:
            time.sleep(BEAT)
            ready, _, _ = select.select(list(self._peers.values()), [], [], 0)
            for i, peer in list(self._peers.items()):
                self._send(i, {})
                silent[i] = 0 if peer in ready else silent[i] + 1
                if peer in ready:
                    self._read(i)
                elif silent[i] * BEAT > SILENCE:
                    self._reason = f'{self.name(i)} has given no sign of life for {SILENCE} s'
        if self._reason:
            for i in self._peers:
                self._send(i, {'ended': self._reason})
            sys.stdout.flush()
            print(f'\nerror: {self._reason}. What came after the last checkpoint is lost: start all workers again with the same command, '
                  'or fewer of them, to go on from there.', file=sys.stderr, flush=True)
            os._exit(1)                                 # the main thread may wait for what nobody will send

    def _read(self, i):
        try:
            data = self._peers[i].recv(65536)
        except OSError:
            data = b''
        *lines, self._received[i] = (self._received.get(i, b'') + data).split(b'\n')
        for message in map(json.loads, lines):
            if 'left' in message:
                del self._peers[i]
                return
            self._reason = self._reason or message.get('ended')
        if not data:
            self._reason = self._reason or f'{self.name(i)} has died'

    def blame(self):
        """Call when an operation over all workers failed: the watch ends this process once it knows why. Returns when it finds nothing."""
        time.sleep(SILENCE + 5 * BEAT)

    def leave(self, error=None):
        """The last word to the others: that this worker is done, or the error for which it stops."""
        last = {'left': True} if error is None else {'ended': f'{self.name(self.index)} stopped: {str(error).rstrip(".") or type(error).__name__}'}
        for i in list(self._peers):
            self._send(i, last)

    # ---- messages

    def _place(self, i):
        host, _, port = self.addresses[i].rpartition(':')
        return host.strip('[]'), int(port)              # [::1]:2222

    def _send(self, i, message):
        with contextlib.suppress(OSError, KeyError):    # whoever reads from a dead worker will see; one that has left needs nothing
            self._peers[i].sendall(json.dumps(message).encode() + b'\n')

    def _receive(self, i, seconds):
        self._peers[i].settimeout(seconds)
        try:
            message = self._line(self._peers[i])
        except (OSError, ValueError):
            message = {'ended': f'{self.name(i)} has died'}
        if 'ended' in message:
            self._stop(message['ended'])
        return message

    def _stop(self, sentence):
        for i in self._peers:
            self._send(i, {'ended': sentence})
        raise UserError(sentence)

    @staticmethod
    def _line(peer):
        line = b''
        while not line.endswith(b'\n'):
            data = peer.recv(1)
            if not data:
                raise ConnectionError('it hung up')
            line += data
        return json.loads(line)
