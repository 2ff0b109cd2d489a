"""A model's sizes, which are hparams.json, and the names and shapes of the weights that they make."""
import json
import math
import os
from dataclasses import dataclass, fields

from .console import UserError

SIZES = ('n_vocab', 'n_ctx', 'n_embd', 'n_head', 'n_layer')
ACTIVATIONS = ('gelu_new', 'gelu', 'relu', 'silu', 'tanh')       # by the names that transformers gives them


@dataclass(frozen=True)
class HParams:
    """A model's sizes, the five numbers of hparams.json; the defaults are those of 124M. What follows them is in the file only where it differs.

    type_tokens: ids of tokens that say who speaks; the embedding of the latest one is added at every position behind it (token_types).
    n_inner: the width within the mlp; None: 4 * n_embd. activation_function: one of ACTIVATIONS. tie_word_embeddings: False: the
    logits have a matrix of their own, lm_head. windows: for each layer, how many positions it looks at, its own the last; 0: at all.
    """
    n_vocab: int = 50257
    n_ctx: int = 1024
    n_embd: int = 768
    n_head: int = 12
    n_layer: int = 12
    type_tokens: tuple = ()
    n_inner: int | None = None
    activation_function: str = 'gelu_new'
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True
    windows: tuple = ()

    def __post_init__(self):
        sizes = SIZES if self.n_inner is None else (*SIZES, 'n_inner')
        wrong = [f'{name} = {value!r}' for name in sizes if not isinstance(value := getattr(self, name), int) or value < 1]
        if wrong:
            raise UserError(f'hparams need whole numbers from 1 up, not {", ".join(wrong)}.')
        if not all(isinstance(i, int) and 0 <= i < self.n_vocab for i in self.type_tokens):
            raise UserError(f'hparams: type_tokens must be ids below n_vocab {self.n_vocab}, not {list(self.type_tokens)}.')
        if self.n_embd % self.n_head:
            raise UserError(f'hparams: n_embd {self.n_embd} does not divide into {self.n_head} heads.')
        if self.activation_function not in ACTIVATIONS:
            raise UserError(f'hparams: activation_function {self.activation_function!r} is none of {", ".join(ACTIVATIONS)}.')
        if not isinstance(self.layer_norm_epsilon, float) or not 0 < self.layer_norm_epsilon < 1:
            raise UserError(f'hparams: layer_norm_epsilon must be between 0 and 1, not {self.layer_norm_epsilon!r}.')
        if not isinstance(self.tie_word_embeddings, bool):
            raise UserError(f'hparams: tie_word_embeddings must be true or false, not {self.tie_word_embeddings!r}.')
        if len(self.windows) not in (0, self.n_layer) or not all(isinstance(n, int) and n >= 0 for n in self.windows):
            raise UserError(f'hparams: windows must be {self.n_layer} whole numbers, one for each layer, not {list(self.windows)}.')

    def window(self, layer):
        """How many positions a layer looks at; 0: at all."""
        return self.windows[layer] if self.windows else 0

    @classmethod
    def read(cls, folder):
        """folder/hparams.json -> HParams. Raises UserError when it is missing or not a model's."""
        path = os.path.join(folder, 'hparams.json')
        try:
            with open(path, encoding='utf-8') as file:
                found = json.load(file)
            others = {field.name: found[field.name] for field in fields(cls) if field.name in found and field.name not in SIZES}
            return cls(**{name: found[name] for name in SIZES}, **{name: tuple(value) if name in ('type_tokens', 'windows') else value for name, value in others.items()})
        except FileNotFoundError:
            raise UserError(f'{path}: there is no such file, so {folder} is no model folder; '
                            'python download_model.py 124M fetches one.') from None
        except (ValueError, KeyError, TypeError) as error:
            reason = error if isinstance(error, UserError) else f'it must hold {", ".join(SIZES)}'
            raise UserError(f'{path} is damaged: {reason}') from None

    def to_json(self):
        """The text of hparams.json."""
        return json.dumps({field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default or field.name in SIZES})


def shapes(hparams):
    """{variable name below `model/`: shape}, in the order in which the original creates them."""
    n = hparams.n_embd
    inner = hparams.n_inner or 4 * n
    found = {'wpe': [hparams.n_ctx, n], 'wte': [hparams.n_vocab, n]}
    for layer in range(hparams.n_layer):
        h = f'h{layer}'
        for name, nx, nf in (('attn/c_attn', n, 3 * n), ('attn/c_proj', n, n), ('mlp/c_fc', n, inner), ('mlp/c_proj', inner, n)):
            found[f'{h}/{name}/w'] = [1, nx, nf]
            found[f'{h}/{name}/b'] = [nf]
        for name in ('ln_1', 'ln_2'):
            found[f'{h}/{name}/g'] = [n]
            found[f'{h}/{name}/b'] = [n]
    return found | {'ln_f/g': [n], 'ln_f/b': [n]} | ({} if hparams.tie_word_embeddings else {'lm_head': [hparams.n_vocab, n]})


def n_params(hparams):
    """The number of weights."""
    return sum(math.prod(shape) for shape in shapes(hparams).values())


def nested(flat):
    """{'h0/ln_1/g': v} -> {'h0': {'ln_1': {'g': v}}}."""
    tree = {}
    for name, value in flat.items():
        *path, leaf = name.split('/')
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
        branch[leaf] = value
    return tree


def flat(tree, prefix=''):
    """nested's inverse."""
    found = {}
    for key, value in tree.items():
        found |= flat(value, f'{prefix}{key}/') if isinstance(value, dict) else {prefix + key: value}
    return found
