"""Gives factors the scales of a tuning, whose scale follows from the rank."""

import dataclasses
from typing import Any

from perl.adapters.tunings import Tuning
from perl.weights import Dora, Lora, flatten, unflatten


def rescaled(delta: Any, own: Tuning | None, wanted: Tuning, leaves: Any) -> Any:
    """The delta with the same products and the scales of the wanted tuning, if its
    scales are not those of its own tuning: an adapter of PEFT may have an alpha for
    each kernel and layer. Otherwise the delta is returned unchanged.

    Args:
        delta: of a role; a scalar head and other arrays stay.
        own: how it was tuned; None where it is empty.
        wanted: how it is to be tuned.
        leaves: the model's tree of `Leaf`.
    """
    flat, said = flatten(delta), _scales(own.declare(leaves) if own else {})
    if all(x.scale == said.get(path) for path, x in flat.items() if _is_pair(x)):
        return delta
    scales = _scales(wanted.declare(leaves))

    def scaled(path, leaf):
        scale = scales.get(path)
        if not _is_pair(leaf) or scale is None:
            return leaf
        leaf = leaf.with_one_scale()
        return dataclasses.replace(leaf, b=leaf.b * (leaf.scale / scale), scale=scale)

    return unflatten({path: scaled(path, x) for path, x in flat.items()})


def _is_pair(leaf):
    return isinstance(leaf, Lora | Dora)


def _scales(declared):
    return {path: x.scale for path, x in flatten(declared).items() if _is_pair(x)}
