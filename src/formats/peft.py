"""LoRA adapters as PEFT keeps them, out and in.

    adapter_config.json   {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["attn.c_attn"], "fan_in_fan_out": true, ...}
    adapter_model.safetensors   base_model.model.transformer.h.0.attn.c_attn.lora_A.weight [r, nx], .lora_B.weight [nf, r]

theirs is ours turned round: A = lora_a^T, B = lora_b^T, the scale alpha / r; alpha / sqrt(r) with use_rslora. Where hub.py has put a scale into the
queries' weights, lora_b of the queries has it too.

    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained('openai-community/gpt2'), 'out')
"""
import json
import math
import os
import re

import numpy as np

from .. import hub, lora, tensors
from ..console import UserError
from ..model import flat, nested, shapes
from . import safetensors
from .vocabulary import write_json

HUB = {'124M': 'openai-community/gpt2', '355M': 'openai-community/gpt2-medium', '774M': 'openai-community/gpt2-large', '1558M': 'openai-community/gpt2-xl'}
KEY = re.compile(r'(?:base_model\.model\.)?(?:transformer\.)?h\.(\d+)\.((?:attn|mlp)\.\w+)\.lora_([AB])(?:\.default)?\.weight')

INITS = ('gaussian', 'eva', 'orthogonal')               # what does not change the weights beneath
HARMLESS = {'task_type', 'auto_mapping', 'peft_version', 'base_model_name_or_path', 'revision', 'inference_mode', 'r', 'target_modules', 'exclude_modules', 'lora_alpha',
            'lora_dropout', 'fan_in_fan_out', 'use_rslora', 'init_lora_weights', 'layers_to_transform', 'layers_pattern', 'rank_pattern', 'alpha_pattern', 'megatron_core',
            'loftq_config', 'eva_config', 'qalora_group_size', 'runtime_config'}


def write(out, source, precision, base):
    """Write the adapters of source.params. base: bundles.Base, what they were added to. Raises UserError where there are none, or where more than
    adapters was learnt."""
    found = flat(source.params)
    kinds = {target: lora.settings(nested({f'{target}/lora_{key}': found[f'{target}/lora_{key}'] for key in ('a', 'b', 'scale')})) for target in lora.adapted(found)}
    if not kinds:
        raise UserError('--format peft takes a run trained with --lora_rank, and this model has no adapters: --format hf writes all of its weights.')
    if source.hparams.n_vocab > base.n_vocab:
        raise UserError(f'the run learnt {source.hparams.n_vocab - base.n_vocab} tokens beside its adapters, with all of the embedding matrix, which PEFT would not '
                        'tie to the logits: --format hf writes base and adapters as one model.')
    folder = os.path.dirname(os.path.abspath(base.prefix))
    about, name, usual, targets = _told(folder), os.path.basename(folder), [*kinds.values()][0], lora.settings(source.params)['targets']
    if source.hparams.windows or about.get('model_type') == 'gpt_neo':
        raise UserError('--format peft cannot hold adapters of a GPT-Neo, whose queries, keys and values are matrices of their own there: --format hf writes '
                        'base and adapters as one model.')
    everywhere = len(kinds) == len(targets) * source.hparams.n_layer
    write_json(out, 'adapter_config.json', {
        'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'base_model_name_or_path': about.get('from') or HUB.get(name, name), 'r': usual['rank'], 'lora_alpha': usual['alpha'],
        'target_modules': [target.replace('/', '.') for target in targets] if everywhere else [*map(_module, kinds)],
        'rank_pattern': {_module(target): kind['rank'] for target, kind in kinds.items() if kind['rank'] != usual['rank']},
        'alpha_pattern': {_module(target): kind['alpha'] for target, kind in kinds.items() if kind['alpha'] != usual['alpha']},
        'fan_in_fan_out': True, 'lora_dropout': 0.0, 'bias': 'none', 'inference_mode': True})
    arrays = {f'base_model.model.transformer.{_module(target)}.lora_{there}.weight': _scaled(f'{target}/lora_{ours}', found[f'{target}/lora_{ours}'].numpy(), about, -1).T
              for target in kinds for ours, there in (('a', 'A'), ('b', 'B'))}
    safetensors.write(os.path.join(out, 'adapter_model.safetensors'), {name: array.shape for name, array in arrays.items()}, arrays.get)


def read(folder, hparams, params, base):
    """The params with the adapters of a PEFT folder; the weights are shared. base: the model's own folder. Raises UserError, with the name, for what is no
    LoRA of such a model."""
    about, base, new = _config(folder), _told(base), {}
    for key, array in tensors.read(_weights(folder)).items():
        found = KEY.fullmatch(key)
        if not found:
            raise UserError(f'{folder} holds {key}, which is no LoRA of a matrix of GPT-2: merge it with PEFT (merge_and_unload), and take what that makes.')
        name = f'h{found[1]}/{found[2].replace(".", "/")}/lora_{found[3].lower()}'
        new[name] = _scaled(name, np.asarray(array, np.float32).T, base, 1)
    for target in lora.adapted(new):
        rank = new[target + '/lora_a'].shape[1]
        alpha = next((alpha for pattern, alpha in about.get('alpha_pattern', {}).items() if re.match(rf'(.*\.)?({pattern})$', 'transformer.' + _module(target))), about['lora_alpha'])
        new[target + '/lora_scale'] = np.float32(alpha / (math.sqrt(rank) if about.get('use_rslora') else rank))
    here = {name: list(array.shape) for name, array in new.items()}
    needed = lora.shapes(shapes(hparams), here)
    wrong = [f'{name}: the model needs {needed.get(name, "none")}, the adapters have {here.get(name, "none")}' for name in sorted(here | needed) if here.get(name) != needed.get(name)]
    if wrong or not here:
        raise UserError(f'{folder} does not fit hparams {hparams.to_json()}. {"; ".join(wrong[:4]) or "It holds no adapters"}. Give the --model_name it was made from, '
                        f'{about.get("base_model_name_or_path") or "as its author knows it"}.')
    return nested(flat(params) | {name: lora.adapter(name, array) for name, array in new.items()})


def scales_of(folder):
    """What of a model folder's source.json its adapters need to know."""
    return {key: value for key, value in hub.source_of(folder).items() if key in ('model_type', 'query_scales')}


def _told(folder):
    """What source.json says of a model folder. Tells where it is from before the scales were noted."""
    about = hub.source_of(folder)
    if 'from' in about and 'query_scales' not in about:
        print(f'({folder} was made before source.json noted how queries are scaled: if its config.json has scale_attn_by_inverse_layer_idx or scale_attn_weights, '
              'download it anew for its adapters to be right)')
    return about


def _scaled(name, array, base, power):
    """An adapter's array [rank, 3 * n_embd], where it is c_attn's lora_b, with the scale of the queries of its layer (hub.source_of) to this power."""
    layer, *part = name.split('/')
    if part == ['attn', 'c_attn', 'lora_b'] and (scales := base.get('query_scales')) and int(layer[1:]) < len(scales):
        array = np.array(array)
        array[:, :array.shape[1] // 3] *= np.float32(scales[int(layer[1:])] ** power)
    return array


def _weights(folder):
    """The file of the adapters: safetensors, or torch's, which PEFT wrote before."""
    old = os.path.join(folder, 'adapter_model.bin')
    return old if os.path.isfile(old) else os.path.join(folder, 'adapter_model.safetensors')


def _module(target):
    """h0/attn/c_attn -> h.0.attn.c_attn"""
    return hub.their_names(target + '/w', neo=False)[0].removesuffix('.weight')


def _config(folder):
    """adapter_config.json. Raises UserError for what changes more than adding two matrices does."""
    path = os.path.join(folder, 'adapter_config.json')
    try:
        with open(path, encoding='utf-8') as file:
            about = json.load(file)
        about['lora_alpha'] / 1, about['peft_type'], about.items()
    except FileNotFoundError:
        raise UserError(f'{path}: there is no such file, so {folder} is no folder of PEFT.') from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f'{path} is damaged: it must hold peft_type and lora_alpha; copy it from where it comes from.') from None
    plain = {'peft_type': 'LORA', 'bias': 'none'}
    for name, value in about.items():
        started = name == 'init_lora_weights' and isinstance(value, str) and value not in INITS
        if started or name not in HARMLESS and value and value != plain.get(name):
            raise UserError(f'{path} has {name} = {json.dumps(value)}, of which our adapters know nothing: merge it with PEFT (merge_and_unload), and take what that makes.')
    return about
