"""Tokens a second of 124M beside other libraries, one text at a time and eight, behind short and long prompts; and memory.

    python benchmarks/sample.py [--rounds 3] [--peer_python path/to/python]

Ours: LiteRT with int8 weights, which a CPU takes by default, with float32 weights, for which int8 ones guess ahead, and with float32 weights alone
(lite.py); and XLA (sample.py), which a GPU takes. Beside them CTranslate2, llama.cpp and transformers, where --peer_python has them (pip install
ctranslate2 llama-cpp-python torch transformers; for llama.cpp, gguf here). llama.cpp's int8 is q8_0; its Python reads one text after the other, so
eight take eight times as long. Weights are random, which no speed depends on but that of guesses: how many of them held is told below the table.
The last norm's gain is SHARP, which makes the distributions about as sharp, and as different in int8, as a trained model's. Each run is a process of
its own, the contenders take turns, and medians of the rounds are shown; machines differ and change from hour to hour, so only what stands side by
side compares. Reading the weights once a token is the limit: GB/s of weights says how near it is, beside what two threads read of plain arrays;
whoever reads them once for several tokens comes above it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]

CONTENDERS = ('int8, LiteRT', 'int8, CTranslate2', 'int8, llama.cpp', 'float32, LiteRT', 'float32, LiteRT alone', 'float32, XLA', 'float32, CTranslate2',
              'float32, llama.cpp', 'float32, transformers')
CASES = [(1, 8), (1, 500), (8, 8)]                      # texts at a time, tokens of each prompt
NEW = 48                                                # tokens made behind a prompt
BYTES = {'int8': 124e6, 'float32': 498e6}               # of the weights that a token reads
SHARP = 7


def library(kind):
    return kind.split()[1]


def prompts(batch, n):
    return np.random.default_rng(0).integers(50257, size=[batch, n]).tolist()


def ours(folder, kind):
    """A function (batch, prompt, new) that makes so many tokens."""
    from src import console, lite
    from src.settings import Settings
    from src.stream import stream
    if library(kind) == 'LiteRT':
        generator = lite.generator(os.path.join(folder, 'model.ckpt'), folder, kind.split(',')[0])
        if kind.endswith('alone'):
            generator.draft = None
    else:
        console.import_tensorflow()
        from src import checkpoint, sample
        generator = sample.Generator(*checkpoint.load(folder))

    def run(batch, n, new):
        for _ in stream(generator, prompts(batch, n), Settings(top_k=40), length=new, seed=1):
            pass
    run.generator = generator
    return run


def ctranslate2(folder, kind):
    import ctranslate2
    import transformers
    precision = kind.split(',')[0]
    made = os.path.join(folder, 'ctranslate2-' + precision)
    if not os.path.isdir(made):
        config = transformers.GPT2Config()
        transformers.GPT2LMHeadModel(config).save_pretrained(made + '-hf')
        with open(os.path.join(made + '-hf', 'vocab.json'), 'w') as file:
            json.dump({f't{i}' if i < 50256 else '<|endoftext|>': i for i in range(50257)}, file)
        with open(os.path.join(made + '-hf', 'merges.txt'), 'w') as file:
            file.write('#version: 0.2\n')
        ctranslate2.converters.TransformersConverter(made + '-hf').convert(made, quantization=None if precision == 'float32' else precision)
        os.execv(sys.executable, [sys.executable, *sys.argv])            # what that took counts for nothing
    generator = ctranslate2.Generator(made, device='cpu', intra_threads=os.cpu_count(), compute_type=precision)
    return lambda batch, n, new: generator.generate_batch([[f't{i}' if i < 50256 else '<|endoftext|>' for i in ids] for ids in prompts(batch, n)],
                                                          max_length=new, min_length=new, sampling_topk=40, include_prompt_in_result=False)


def llama_cpp(folder, kind):
    from llama_cpp import Llama
    model = Llama(os.path.join(folder, kind.split(',')[0], 'model.gguf'), n_ctx=1024, n_threads=os.cpu_count(), n_threads_batch=os.cpu_count(), verbose=False)

    def run(batch, n, new):
        for ids in prompts(batch, n):
            model.reset()
            model.eval(ids)
            for _ in range(new):
                model.eval([model.sample(top_k=40, temp=1.0)])
    return run


def transformers(folder, kind):
    import torch
    import transformers
    torch.set_num_threads(os.cpu_count())
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()

    def run(batch, n, new):
        ids = torch.tensor(prompts(batch, n))
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=True, top_k=40, pad_token_id=50256)
    return run


def bandwidth():
    """GB/s that two threads read of arrays larger than any cache."""
    arrays, seconds = np.ones([2, 60_000_000], np.float32), []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(np.max, arrays))
            seconds.append(time.perf_counter() - start)
    return arrays.nbytes / min(seconds) / 1e9


def measure(folder, kind):
    """In a process of its own: {case: tokens/s}, and the peak memory in GB before eight texts came."""
    maker = {'LiteRT': ours, 'XLA': ours, 'CTranslate2': ctranslate2, 'llama.cpp': llama_cpp, 'transformers': transformers}[library(kind)]
    try:
        run = maker(folder, kind)
    except ModuleNotFoundError as error:
        return {'missing': error.name}
    found = {}
    for batch, n in CASES:
        if batch == 1:
            run(batch, n, 4)                            # what is compiled is compiled now
        times = []
        for new in (1, NEW + 1, 1, NEW + 1):            # the second of each counts
            start = time.perf_counter()
            run(batch, n, new)
            times.append(time.perf_counter() - start)
        found[f'{batch} {n}'] = batch * NEW / (times[3] - times[2])
        if batch == 1:
            with open('/proc/self/status') as status:
                found['peak'] = next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) / 1e6
    if kind == 'float32, LiteRT':
        found['held'] = run.generator.held / run.generator.guessed
    return found


def main():
    import road

    from src import console
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--rounds', type=console.positive_int, default=3, metavar='N', help='processes of each contender, whose median is shown')
    parser.add_argument('--peer_python', metavar='PYTHON', default=sys.executable, help='a Python that has the others; default: this one')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        road.measure('-c', f'import sys; sys.path.insert(0, {ROOT!r})\nfrom src import console; console.import_tensorflow()\n'
                     f'from src import checkpoint, model\nhparams = model.HParams()\nparams = model.init_params(hparams)\n'
                     f'params["ln_f"]["g"].assign(params["ln_f"]["g"] * {SHARP})\ncheckpoint.save({folder!r}, hparams, params)')
        road.copy_vocabulary(folder)
        results, reads = {kind: [] for kind in CONTENDERS}, []
        for precision, theirs in (('int8', 'q8_0'), ('float32', 'float32')):
            made = subprocess.run([sys.executable, os.path.join(ROOT, 'export_model.py'), '--model_name', folder, '--format', 'gguf', '--precision', theirs,
                                   '--out', os.path.join(folder, precision)], capture_output=True, text=True)
            if made.returncode:
                del results[f'{precision}, llama.cpp']
                print(f'{precision}, llama.cpp is left out: {made.stderr.strip().splitlines()[-1]}', flush=True)
        for _ in range(args.rounds):
            reads.append(bandwidth())
            for kind in list(results):
                python = sys.executable if library(kind) in ('LiteRT', 'XLA') else args.peer_python
                _, _, output = road.measure(os.path.abspath(__file__), '--measure', folder, kind, python=python)
                found = json.loads(output.splitlines()[-1])
                if 'missing' in found:
                    del results[kind]
                    print(f'{kind} is left out: --peer_python has no {found["missing"]}.', flush=True)
                else:
                    results[kind].append(found)
    heads = [f'{batch} x behind {n}' for batch, n in CASES]
    print(f'{"tokens/s":26}' + ''.join(f'{head:>16}' for head in heads) + f'{"peak GB":>10}{"GB/s of weights":>18}')
    for kind, found in results.items():
        rates = [statistics.median(result[f'{batch} {n}'] for result in found) for batch, n in CASES]
        peak = statistics.median(result['peak'] for result in found)
        print(f'{kind:26}' + ''.join(f'{rate:16.0f}' for rate in rates) + f'{peak:10.2f}{rates[0] * BYTES[kind.split(",")[0]] / 1e9:18.0f}')
    print(f'Two threads read {statistics.median(reads):.0f} GB/s. Of the guesses {statistics.median(result["held"] for result in results["float32, LiteRT"]):.0%} held.')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']:                  # a Python that has the others need not have what we need
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main()
