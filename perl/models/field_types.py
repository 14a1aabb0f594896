"""What the fields of an architecture may be, by their type and by their name."""

import sys

from perl.models.scaling import Scaling
from perl.weights import QUANTISATIONS


def _whole(x):
    return isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 2**31


# the type of a field: in words what it must be, and a test of a value
TYPES = {
    int: ('a whole number above 0', lambda x: _whole(x) and x > 0),
    float: (
        'a finite number, 0 or more',
        lambda x: isinstance(x, int | float) and 0 <= x <= sys.float_info.max,
    ),
    bool: ('true or false', lambda x: True),
    str: ('text', lambda x: isinstance(x, str)),
    tuple[int, ...]: (
        'whole numbers, 0 or more',
        lambda x: isinstance(x, tuple) and all(map(_whole, x)),
    ),
    tuple[bool, ...]: (
        'values true or false',
        lambda x: isinstance(x, tuple) and all(isinstance(i, bool) for i in x),
    ),
    Scaling | None: ('a scaling', lambda x: x is None or isinstance(x, Scaling)),
}

DTYPES = ('float32', 'bfloat16', 'float16')
# the words that a field may be, by its name
CHOICES = {
    'rope_layout': ('halves', 'pairs'),
    'positions': ('rotary', 'learned'),
    'norm': ('rms', 'rms_offset', 'layer'),
    'norm_at': ('before', 'after', 'both'),
    'qk_norm': ('none', 'head', 'whole'),
    'activation': ('silu', 'gelu', 'gelu_tanh', 'relu'),
    'dtype': DTYPES,
    'precision': ('highest', 'default', 'bfloat16'),
    'quantization': ('none', *QUANTISATIONS),
    'attention': ('auto', 'plain', 'cudnn', 'splash'),
}
