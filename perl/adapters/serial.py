"""A delta as named arrays and plain values, and back: how a bundle keeps it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from perl.adapters.tree import is_adapter
from perl.adapters.tunings import Tuning
from perl.weights import flatten, unflatten


def take_apart(
    delta: Any,
) -> tuple[dict[str, jax.Array], dict[str, dict[str, float]]]:
    """The arrays of a delta by path, of any shapes, and the plain values of its
    adapters by path.

    The arrays of an adapter at `path` are named `path/field`; its plain values are
    those of its other fields, such as the scale and the dropout of LoRA.
    """
    arrays, values = {}, {}
    for path, leaf in flatten(delta).items():
        if not is_adapter(leaf):
            arrays[path] = leaf
            continue
        values[path] = {}
        for name in (field.name for field in dataclasses.fields(leaf)):
            value = getattr(leaf, name)
            if isinstance(value, float | int | str | tuple):
                values[path][name] = value
            else:
                arrays[f'{path}/{name}'] = value
    return arrays, values


def put_together(
    arrays: Mapping[str, jax.Array],
    values: Mapping[str, Mapping[str, float]],
    tuning: Tuning,
) -> Any:
    """The inverse of `take_apart`, with the kind of adapter that the tuning trains;
    the arrays have any shapes, which are kept.

    Raises:
        KeyError, TypeError: arrays and values do not belong together.
    """
    flat, left = {}, dict(arrays)
    for path, plain in values.items():
        names = [f.name for f in dataclasses.fields(tuning.adapter)]
        held = {name: left.pop(f'{path}/{name}') for name in names if name not in plain}
        # JSON makes lists of tuples
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        flat[path] = tuning.adapter(**held, **plain)
    return unflatten({**flat, **left})
