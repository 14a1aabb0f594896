"""The leaves of a state by name, as orbax takes them and gives them back."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.system.errors import UserError


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of any pytree by their paths in it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def shape_dtype(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Of an array, an abstract one or a Python scalar."""
    leaf = leaf if hasattr(leaf, 'dtype') else np.asarray(leaf)
    return tuple(leaf.shape), np.dtype(leaf.dtype)


def abstract(leaf: Any) -> Any:
    """What tells orbax a leaf's shape, dtype and placement: on the host without one."""
    if getattr(leaf, 'sharding', None) is not None:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
    shape, dtype = shape_dtype(leaf)
    return np.broadcast_to(np.zeros((), dtype), shape)  # takes no memory


def like(example: Any, restored: Any) -> Any:
    """A restored leaf as the kind of leaf that the example has."""
    if isinstance(example, bool | int | float | complex):
        return type(example)(restored.item())
    if isinstance(example, jax.ShapeDtypeStruct):
        return jnp.asarray(restored)
    return restored[()] if isinstance(example, np.generic) else restored


def check_structure(
    saved: dict[str, dict], wanted: dict[str, Any], folder: pathlib.Path
) -> None:
    """Compares described arrays with the leaves that are wanted.

    Raises:
        UserError: names, shapes or dtypes differ.
    """

    def refuse(what, names):
        raise UserError(
            f'checkpoint {folder} is of another state: {what} {few(names)}; go on with '
            'the config that it was made with, or choose another folder'
        )

    if missing := [name for name in wanted if name not in saved]:
        refuse('it lacks', missing)
    if more := [name for name in saved if name not in wanted]:
        refuse('nothing here takes its', more)
    other = []
    for name, leaf in wanted.items():
        shape, dtype = shape_dtype(leaf)
        had, want = saved[name]['dtype'], str(dtype)
        had, want = f'{had}{saved[name]["shape"]}', f'{want}{list(shape)}'
        if had != want:
            other.append(f'{name} as {had}, not {want}')
    if other:
        refuse('it has', other)


def few(names: list[str]) -> str:
    """The first three of many names."""
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more
