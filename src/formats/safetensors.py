"""Arrays by name in a file, as Hugging Face's safetensors has them (tensors.py reads them): the length of a header, the header, the numbers.

    50 01 00 00 00 00 00 00  {"transformer.wpe.weight": {"dtype": "F32", "shape": [1024, 768], "data_offsets": [0, 3145728]}, ...}  3e 9a ...
"""
import json
import math

import numpy as np

from .. import files

KINDS = {'float32': 'F32', 'float16': 'F16'}


def write(path, shapes, get, precision='float32'):
    """Write the arrays of `shapes` {name: shape}. get(name) gives each when its turn has come, so that there is one at a time."""
    header, end = {'__metadata__': {'format': 'pt'}}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * np.dtype(precision).itemsize
        header[name] = {'dtype': KINDS[precision], 'shape': list(shape), 'data_offsets': [start, end]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)                     # the numbers begin at a multiple of 8
    with files.whole(path) as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for name, shape in shapes.items():
            file.write(np.ascontiguousarray(get(name), precision))
