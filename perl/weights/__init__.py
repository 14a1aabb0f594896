"""Weights: how a model declares them, and the leaves that compute with them."""

from perl.weights.contract import Adapter, Bound, Weight, dense, einsum, on_base, take
from perl.weights.declared import (
    LAYERS,
    Leaf,
    abstract,
    find,
    flatten,
    in_layers,
    is_leaf,
    unflatten,
)
from perl.weights.lora import Adapted, Lora

__all__ = [
    'LAYERS',
    'Adapted',
    'Adapter',
    'Bound',
    'Leaf',
    'Lora',
    'Weight',
    'abstract',
    'dense',
    'einsum',
    'find',
    'flatten',
    'in_layers',
    'is_leaf',
    'on_base',
    'take',
    'unflatten',
]
