"""Chat with what export_model.py --format litert wrote: python litert_chat.py FOLDER [TEMPERATURE]. Needs ai-edge-litert, numpy and tokenizers, nothing of ours."""
import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizers import Tokenizer

folder, draw = sys.argv[1], np.random.default_rng()
tokenizer, chat = Tokenizer.from_file(folder + '/tokenizer.json'), json.load(open(folder + '/chat.json', encoding='utf-8'))
temperature = max(1e-6, float(sys.argv[2]) if len(sys.argv) > 2 else chat['temperature'])
model = Interpreter(folder + '/model.tflite', num_threads=4)
past = np.zeros(chat['past'], np.float32)               # [2 * n_layer, n_head, n_ctx, features], of which `length` positions are filled
length, speaker, text = 0, -1, chat['begin']


def read(name, ids):                                    # puts ids [n] behind the past, by the function prefill or decode -> the id that follows
    global length, speaker
    types = [speaker := i if i in chat['types'] else speaker for i in ids]              # of a model with token types: who speaks at each
    n, shown = len(ids), min(-(-(length + 1) // 64) * 64, past.shape[2])           # so many positions of the past are handed over: what is filled, rounded up
    hidden = np.concatenate([np.tile(np.arange(shown) >= length, [n, 1]), np.triu(np.ones([n, n], bool), 1)], axis=1)
    found = model.get_signature_runner(name)(ids=np.int32(ids), positions=np.arange(length, length + n, dtype=np.int32), past=past[:, :, :shown],
                                             mask=np.float32(-1e9) * hidden.astype(np.float32), **({'types': np.int32(types)} if chat['types'] else {}))
    past[:, :, length:length + n], length = found['new'], length + n
    best = np.argsort(-found['logits'][0])[:chat['top_k'] or None]
    p = np.exp((found['logits'][0, best] - found['logits'][0, best[0]]) / temperature)
    return int(draw.choice(best, p=(p := p * (np.cumsum(p) - p < chat.get('top_p', 1) * p.sum())) / p.sum()))


for line in sys.stdin:
    ids = tokenizer.encode(text + chat['user'] + line.strip() + chat['closing'] + chat['prompt']).ids
    length, speaker = (length, speaker) if length + len(ids) + chat['length'] <= past.shape[2] else (0, -1)            # the context is full: it forgets
    made, text = [read('prefill', ids[chat['length'] - past.shape[2]:])], chat['next']
    while made[-1] not in chat['stops'] and len(made) <= chat['length']:
        made.append(read('decode', made[-1:]))
    print(tokenizer.decode(made[:-1]).strip(), flush=True)
