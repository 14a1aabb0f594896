"""The leaves of a state by name, in the form that orbax saves and restores."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.system.errors import UserError


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of any pytree, keyed by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def shape_dtype(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array, an abstract array or a Python scalar."""
    leaf = leaf if hasattr(leaf, 'dtype') else np.asarray(leaf)
    return tuple(leaf.shape), np.dtype(leaf.dtype)


def abstract(leaf: Any) -> Any:
    """A leaf's shape, dtype and placement for orbax; on the host if it has none."""
    if getattr(leaf, 'sharding', None) is not None:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
    shape, dtype = shape_dtype(leaf)
    return np.broadcast_to(np.zeros((), dtype), shape)  # takes no memory


def like(example: Any, restored: Any) -> Any:
    """Converts a restored leaf to the type of the example's leaf."""
    if isinstance(example, bool | int | float | complex):
        return type(example)(restored.item())
    if isinstance(example, jax.ShapeDtypeStruct):
        return jnp.asarray(restored)
    return restored[()] if isinstance(example, np.generic) else restored


def check_structure(
    saved: dict[str, dict], wanted: dict[str, Any], folder: pathlib.Path
) -> None:
    """Compares the descriptions of saved arrays with the wanted leaves.

    Raises:
        UserError: names, shapes or dtypes differ.
    """

    def refuse(what, names):
        raise UserError(
            f'checkpoint {folder} is of another state: {what} {few(names)}; continue '
            'with the config that made it, or choose another folder'
        )

    if missing := [name for name in wanted if name not in saved]:
        refuse('it lacks', missing)
    if surplus := [name for name in saved if name not in wanted]:
        refuse('this config does not use its', surplus)
    different = []
    for name, leaf in wanted.items():
        shape, dtype = shape_dtype(leaf)
        is_saved = f'{saved[name]["dtype"]}{saved[name]["shape"]}'
        is_wanted = f'{dtype}{list(shape)}'
        if is_saved != is_wanted:
            different.append(f'{name} as {is_saved}, not {is_wanted}')
    if different:
        refuse('it has', different)


def few(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more
