"""Weights: how a model declares them, and the leaves that compute with them."""

from perl.weights.bias import Bias
from perl.weights.bottleneck import Bottleneck
from perl.weights.contract import (
    Adapter,
    Bound,
    Weight,
    dense,
    einsum,
    on_arrays,
    take,
)
from perl.weights.declared import (
    LAYERS,
    Leaf,
    abstract,
    filled,
    find,
    flatten,
    in_layers,
    is_leaf,
    named,
    unflatten,
)
from perl.weights.dora import Dora
from perl.weights.layers import Layers
from perl.weights.lora import Adapted, Lora
from perl.weights.pissa import Pissa
from perl.weights.pooled import Pooled
from perl.weights.prefix import Prefix
from perl.weights.quantisation import QUANTISATIONS
from perl.weights.replaced import Replaced
from perl.weights.stored import Stored

__all__ = [
    'LAYERS',
    'QUANTISATIONS',
    'Adapted',
    'Adapter',
    'Bias',
    'Bottleneck',
    'Bound',
    'Dora',
    'Layers',
    'Leaf',
    'Lora',
    'Pissa',
    'Pooled',
    'Prefix',
    'Replaced',
    'Stored',
    'Weight',
    'abstract',
    'dense',
    'einsum',
    'filled',
    'find',
    'flatten',
    'in_layers',
    'is_leaf',
    'named',
    'on_arrays',
    'take',
    'unflatten',
]
