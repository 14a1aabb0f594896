"""What differs between the layers of a decoder, apart from their weights."""

from typing import Any, NamedTuple

import jax
import numpy as np

from perl.models.description import Architecture

_ALL = 2**30  # a window that no row is longer than


class Kind(NamedTuple):
    """The kind of one layer: values where layers are unrolled, arrays where they are
    scanned. None in a field says that no layer has that.

    Attributes:
        window: how many tokens it sees.
        local: whether it has a window at all.
        unrotated: whether it has no rotary positions.
    """

    window: int | jax.Array | None = None
    local: bool | jax.Array | None = None
    unrotated: bool | jax.Array | None = None


def kinds(arch: Architecture) -> Kind:
    """The kinds of all layers, in arrays `[L]` for a scan."""
    kind = Kind()
    if arch.windows:
        windows = np.resize(np.array(arch.windows, np.int32), arch.layers)
        kind = Kind(np.where(windows > 0, windows, _ALL).astype(np.int32), windows > 0)
    if arch.unrotated:
        kind = kind._replace(unrotated=np.resize(arch.unrotated, arch.layers))
    return kind


def kind_of(arch: Architecture, layer: int) -> Kind:
    """The kind of one layer, in Python's values."""
    kind = Kind()
    if arch.windows:
        window = arch.windows[layer % len(arch.windows)]
        kind = Kind(window or None, window > 0)
    if arch.unrotated:
        unrotated = arch.unrotated[layer % len(arch.unrotated)]
        kind = kind._replace(unrotated=unrotated)
    return kind


def choose(flag: bool | jax.Array | None, yes: Any, no: Any) -> Any:
    """One of two trees of arrays of the same shapes, by a value or a traced scalar."""
    if flag is None or isinstance(flag, bool):
        return yes if flag else no
    return jax.tree.map(lambda a, b: jax.lax.select(flag, a, b), yes, no)
