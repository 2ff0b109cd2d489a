"""A training run of GPT-2 in a process of its own, by us or by another library: what train.py and characters.py put side by side.

    python benchmarks/contenders.py '{"contender": "PyTorch alone", "hparams": {...}, "batch": [1, 1024], "steps": 5, "seed": 1}'

prints one line of JSON: the seconds and the loss of each step, the peak memory (from /proc, so this is for Linux), and what the library's
matrix products reach or, where a text is learnt, the loss over its validation part. A contender is a function of these settings, `run`. It gives
step() -> loss; product(n, k, m), a function that does one product [n, k] x [k, m]; score(X, labels) -> mean loss; and times, ours alone: the
seconds that drawing each batch took, and that each step waited for one. It imports its library itself, for no Python need have all.
"""
import json
import math
import os
import statistics
import sys
import time
from types import SimpleNamespace

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRODUCTS = 7                                            # of each kind, whose median second counts
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]


def take_turns(contenders, rounds, run, peer_python):
    """Yield (round from 1, contender, result), every run in a process of its own.

    contenders: their names, a list; those whose library is not installed leave it, with a sentence. run: the settings, but for contender
    and seed, which is the round.
    """
    from road import measure
    for number in range(1, rounds + 1):
        for contender in list(contenders):
            python = sys.executable if contender == 'ours' else peer_python
            _, _, output = measure(os.path.abspath(__file__), json.dumps(run | {'contender': contender, 'seed': number}), python=python)
            result = json.loads(output.splitlines()[-1])
            if 'missing' in result:
                contenders.remove(contender)
                print(f'{contender} is left out: --peer_python has no {result["missing"]}.', flush=True)
            else:
                yield number, contender, result


def median(results, number):
    """The median of number(result)."""
    return statistics.median(map(number, results))


# ---- what is learnt

def characters(path):
    """A text -> (ids of its characters in their order, their number); the first nine tenths are to be trained on."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    known = {c: i for i, c in enumerate(sorted(set(text)))}
    return np.asarray([known[c] for c in text], np.int32), len(known)


def training_ids(run):
    """The tokens to train on: of the text, or random ones."""
    if run['text']:
        ids, _ = characters(run['text'])
        return ids[:len(ids) * 9 // 10]
    return np.random.default_rng(0).integers(run['hparams']['n_vocab'], size=1_000_000, dtype=np.int32)


def validation(run):
    """(X, labels) of the text's last tenth, [windows, n_ctx] both: consecutive windows, the rest of the last one left out."""
    ids, _ = characters(run['text'])
    ids, n_ctx = ids[len(ids) * 9 // 10:], run['hparams']['n_ctx']
    windows = (len(ids) - 1) // n_ctx
    return ids[:windows * n_ctx].reshape(windows, n_ctx), ids[1:windows * n_ctx + 1].reshape(windows, n_ctx)


# ---- the contenders

def ours(run):
    from src import console
    console.start_tuned()                               # as train.py
    if run['recompute'] or run['precision'] == 'float32':
        console.spare_pool()
    tf = console.import_tensorflow()
    from src import lora, model, trainer
    from src.batches import Ahead, Batches, Sampler
    hparams, (batch, sequence) = model.HParams(**run['hparams']), run['batch']
    params = model.init_params(hparams, run['seed'])
    if run['lora_rank']:
        params = lora.add(params, run['lora_rank'], alpha=2 * run['lora_rank'])
    train = trainer.Trainer(hparams, params, tokens=batch * sequence,
                            learning_rate=trainer.schedule(run['schedule'], run['learning_rate'], run['warmup_steps'], run['steps']),
                            **{name: run[name] for name in ('optimizer', 'beta2', 'weight_decay', 'clip_norm', 'precision', 'recompute')})
    batches = Batches(Sampler([training_ids(run)], run['seed']), batch, sequence, hparams.n_vocab)
    times = {'draws': [], 'waits': []}
    batches.next = clocked(batches.next, times['draws'])
    ahead = Ahead(batches)
    ahead.next = clocked(ahead.next, times['waits'])

    def score(X, labels):
        parts = [(X[i:i + batch], labels[i:i + batch], np.ones_like(X[i:i + batch], np.float32)) for i in range(0, len(X), batch)]
        loss, _ = train.validate(SimpleNamespace(next=iter(parts).__next__), len(parts))
        return loss

    return SimpleNamespace(step=lambda: train.step(ahead), score=score, product=tensorflow_product(tf, run), times=times)


def tensorflow_product(tf, run):
    def product(n, k, m):
        a, b = (tf.cast(tf.random.normal(shape), run['precision']) for shape in ([n, k], [k, m]))
        return lambda: tf.matmul(a, b)
    return product


def torch_alone(run):
    import torch
    from torch_gpt import GPT
    torch.manual_seed(run['seed'])
    model = GPT(**run['hparams'], bias=run['bias'])
    return in_torch(run, model, model)


def transformers(run):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(run['seed'])
    hparams = run['hparams']
    sizes = {'vocab_size': hparams['n_vocab'], 'n_positions': hparams['n_ctx']} | {name: hparams[name] for name in ('n_embd', 'n_head', 'n_layer')}
    model = GPT2LMHeadModel(GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).train()
    return in_torch(run, model, lambda X, labels: model(input_ids=X, labels=X).loss)            # which shifts them itself


def in_torch(run, model, mean_loss):
    """What the contenders in PyTorch share: batches, the optimizer with its schedule, bfloat16 by autocast."""
    import torch
    dtype = getattr(torch, run['precision'])
    autocast = torch.autocast('cpu', dtype, enabled=dtype != torch.float32)
    parameters = list(model.parameters())
    matrices, rest = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() < 2]
    optimizer = torch.optim.AdamW([{'params': matrices, 'weight_decay': run['weight_decay']}, {'params': rest, 'weight_decay': 0.0}],
                                  lr=run['learning_rate'], betas=(0.9, run['beta2']), fused=True)

    def rate(step):                                     # as a multiple of the peak
        if step < run['warmup_steps']:
            return step / run['warmup_steps']
        share = (step - run['warmup_steps']) / (run['steps'] - run['warmup_steps'])
        return 1.0 if run['schedule'] == 'constant' else 0.1 + 0.45 * (1 + math.cos(math.pi * share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    ids = torch.from_numpy(training_ids(run).astype(np.int64))
    draw, (batch, sequence) = np.random.default_rng(run['seed']), run['batch']

    def step():
        starts = draw.integers(len(ids) - sequence, size=batch)
        X, labels = (torch.stack([ids[start + ahead:start + ahead + sequence] for start in starts]) for ahead in (0, 1))
        with autocast:
            loss = mean_loss(X, labels)
        loss.backward()
        if run['clip_norm']:
            torch.nn.utils.clip_grad_norm_(parameters, run['clip_norm'])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def score(X, labels):
        with torch.no_grad():
            return mean_loss(*(torch.from_numpy(x.astype(np.int64)) for x in (X, labels))).item()

    def product(n, k, m):
        a, b = torch.randn(n, k).to(dtype), torch.randn(k, m).to(dtype)
        return lambda: a @ b

    return SimpleNamespace(step=step, score=score, product=product, times={})


def keras_hub(run):
    os.environ['KERAS_BACKEND'] = 'tensorflow'
    import keras
    import keras_hub
    import tensorflow as tf
    keras.utils.set_random_seed(run['seed'])
    if run['precision'] != 'float32':
        keras.config.set_dtype_policy('mixed_' + run['precision'])
    hparams, (batch, sequence) = run['hparams'], run['batch']
    model = keras_hub.models.GPT2CausalLM(keras_hub.models.GPT2Backbone(
        vocabulary_size=hparams['n_vocab'], num_layers=hparams['n_layer'], num_heads=hparams['n_head'], hidden_dim=hparams['n_embd'],
        intermediate_dim=4 * hparams['n_embd'], dropout=0.0, max_sequence_length=hparams['n_ctx']))
    model.compile(optimizer=keras.optimizers.Adam(run['learning_rate'], beta_2=run['beta2']),
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), weighted_metrics=None)
    ids, draw, seen = training_ids(run), np.random.default_rng(run['seed']), np.ones([batch, sequence], bool)

    def step():
        windows = np.stack([ids[start:start + sequence + 1] for start in draw.integers(len(ids) - sequence, size=batch)])
        return model.train_on_batch({'token_ids': windows[:, :-1], 'padding_mask': seen}, windows[:, 1:], return_dict=True)['loss']

    return SimpleNamespace(step=step, product=tensorflow_product(tf, run), times={})


CONTENDERS = {'ours': ours, 'transformers': transformers, 'PyTorch alone': torch_alone, 'keras-hub': keras_hub}


# ---- the process

def clocked(function, seconds):
    """function, which appends to `seconds` how long each call took."""
    def call():
        start = time.perf_counter()
        try:
            return function()
        finally:
            seconds.append(time.perf_counter() - start)
    return call


def products(hparams, batch):
    """[(n, k, m, how often a forward pass does it)] of the matrix products of a model: attention's apart, which are small."""
    n, d, layers = batch[0] * batch[1], hparams['n_embd'], hparams['n_layer']
    return [(n, d, 3 * d, layers), (n, d, d, layers), (n, d, 4 * d, layers), (n, 4 * d, d, layers), (n, d, hparams['n_vocab'], 1)]


def product_rate(contender, hparams, batch):
    """Floating-point operations a second in the model's own products."""
    operations = seconds = 0
    for n, k, m, often in products(hparams, batch):
        times = []
        product = clocked(contender.product(n, k, m), times)
        for _ in range(PRODUCTS):
            product()
        operations, seconds = operations + often * 2 * n * k * m, seconds + often * statistics.median(times)
    return operations / seconds


def peak_gigabytes():
    """This process's highest resident memory. Not getrusage's: that one begins with the memory of the process it was forked from."""
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) * 1024 / 1e9


# a run's settings where it names no others: GPT-2's own fine-tuning, as plain as it can be, the same for all
DEFAULTS = {'precision': 'float32', 'optimizer': 'adam', 'learning_rate': 2e-5, 'beta2': 0.999, 'weight_decay': 0.0, 'clip_norm': None,
            'schedule': 'constant', 'warmup_steps': 0, 'bias': True, 'recompute': False, 'lora_rank': 0, 'text': None}


def main():
    run = DEFAULTS | json.loads(sys.argv[1])
    try:
        contender = CONTENDERS[run['contender']](run)
    except ModuleNotFoundError as error:
        return print(json.dumps({'missing': error.name}))
    seconds = []
    step = clocked(contender.step, seconds)
    losses = [step() for _ in range(run['steps'])]
    found = {'seconds': seconds, 'losses': losses, 'peak': peak_gigabytes()} | contender.times
    if run['text']:
        found['validation'] = contender.score(*validation(run))
    else:
        found['rate'] = product_rate(contender, run['hparams'], run['batch'])
    print(json.dumps(found))


if __name__ == '__main__':
    main()
