"""Parameters as the model declares them, before any array exists."""

from typing import Any, NamedTuple

import jax

LAYERS = 'layers'  # the subtree of per-layer parameters, and their first axis


class Leaf(NamedTuple):
    """One parameter as the model declares it.

    Attributes:
        shape: shape; under `layers` the layer axis comes first.
        axes: the logical name of each axis; shardings derive from it.
        inputs: number of input axes of a kernel (after the layer axis);
            0 for parameters that are not kernels (norms, biases).
        std: standard deviation of the normal initialiser; None initialises to ones.
        dtype: that it is stored in; '' leaves it to the tree that it is in.
        rate: multiplies the learning rate; 0 keeps it as it is.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    inputs: int
    std: float | None
    dtype: str = ''
    rate: float = 1.0

    @property
    def layered(self) -> bool:
        """Whether the first axis is the layer axis."""
        return self.axes[:1] == (LAYERS,)


def is_leaf(x: Any) -> bool:
    """Whether a node of a tree is a declared parameter."""
    return isinstance(x, Leaf)


def abstract(tree: Any, dtype: str = 'float32') -> Any:
    """A tree of `Leaf` as a tree of shapes and dtypes, for tracing without memory."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype or dtype),
        tree,
        is_leaf=is_leaf,
    )


def flatten(tree: Any, prefix: str = '') -> dict[str, Any]:
    """A nested dict as `{'a/b': leaf}`."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat = {}
    for name, subtree in tree.items():
        flat |= flatten(subtree, f'{prefix}/{name}' if prefix else name)
    return flat


def unflatten(flat: dict[str, Any]) -> Any:
    """The inverse of `flatten`."""
    tree = {}
    for path, leaf in flat.items():
        *parents, name = path.split('/')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def named(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by path, each of them a `Leaf` where they are declared: as
    `flatten`, and those of a weight that is no array as `a/b/field`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {_name(path): x for path, x in leaves}


def filled(tree: Any, arrays: dict[str, Any]) -> Any:
    """The declared tree with the arrays that `named` has by these names, of the shapes
    that it says."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[_name(path)], tree, is_leaf=is_leaf
    )


def _name(path):
    return jax.tree_util.keystr(path, simple=True, separator='/')


def in_layers(path: str) -> bool:
    """Whether a flattened path lies in the subtree that carries the layer axis."""
    return path.split('/')[0] == LAYERS


def find(tree: Any, path: str) -> Any:
    """The leaf of whatever kind at a path such as `attention/q` of a nested dict.

    Raises:
        KeyError: there is none.
    """
    node = tree
    for name in path.split('/'):
        if name not in node:
            raise KeyError(f'the parameter tree has no {path}')
        node = node[name]
    return node
