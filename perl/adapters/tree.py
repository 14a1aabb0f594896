"""Adapters as transforms of parameter trees: bind, merge, stack, select.

A *delta* is a nested dict with a subset of a base's keys. Its leaves are adapters
(`Lora` factors, say), which sit beside the base's leaf, or arrays, which take its place
(full tuning) or are new (a scalar head). A role of RLHF, policy, value, reward or
reference, is a delta over one shared base.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights import LAYERS, Adapter, Bound, dense, flatten, in_layers, unflatten


def bind(base: Any, delta: Any, ids: Any = None, key: Any = None) -> Any:
    """The tree that the model reads: structural, no copy, no compute.

    Args:
        base: frozen parameters, or an empty dict where the delta holds them all.
        delta: the trainable tree of a role.
        ids: `[B]` int32, which of the stacked adapters serves each example. Arrays that
            are new (a scalar head) are chosen with them: `[N, ...]` to `[B, ...]`.
        key: a random key that turns adapter dropout on.

    Raises:
        UserError: there are ids, and a delta that replaces weights of the base.
    """
    return _bind(base, delta, ids, key, layered=False)


def _bind(base, delta, ids, key, layered):
    if isinstance(delta, Adapter):
        depth = jax.tree.leaves(delta)[0].shape[0]
        if layered and ids is not None:
            ids = jnp.broadcast_to(ids, (depth, *ids.shape))
        if layered and key is not None:
            key = jax.random.split(key, depth)
        return delta.bind(base, ids, key)
    if not isinstance(delta, dict):
        return delta if ids is None else _chosen(base, delta, ids)
    bound = dict(base or {})
    for i, (name, subtree) in enumerate(sorted(delta.items())):
        sub_key = None if key is None else jax.random.fold_in(key, i)
        inner = layered or name == LAYERS
        bound[name] = _bind(bound.get(name), subtree, ids, sub_key, inner)
    return bound


def _chosen(base, stacked, ids):
    if base is not None:
        raise UserError(
            'adapters: weights that are tuned in full cannot be chosen by example; '
            'stack adapters of LoRA'
        )
    return jnp.take(stacked, ids, axis=0)


def merge(base: Any, delta: Any) -> Any:
    """One tree of arrays; leaves without an adapter are the base's own, and those that
    are stored in fewer bits are decoded.

    Raises:
        UserError: the delta has a kind of leaf that no array can stand for.
    """

    def merged(path, leaf):
        return _by_layer(path, dense, leaf) if isinstance(leaf, Bound) else leaf

    return _each_weight(merged, bind(base, delta))


def fold(base: Any, delta: Any, lossy: bool = False) -> Any:
    """One tree of the base's own kinds of leaves: kernels that are stored in fewer bits
    stay so. QA-LoRA is merged into a base in INT4 without any rounding.

    Args:
        base: frozen parameters.
        delta: the trainable tree of a role.
        lossy: allows that a merged kernel is rounded to the kind of its base.

    Raises:
        UserError: a merge would be lossy, and that is not allowed; or as in `merge`.
    """

    kinds = flatten(base)

    def folded(path, leaf):
        kind = kinds.get(path)
        if isinstance(leaf, Bound):
            return _by_layer(path, lambda x: x.folded(lossy), leaf)
        if isinstance(kind, Bound):  # in whose place the array is
            return _by_layer(path, lambda x: kind.like(x, lossy), leaf)
        return leaf

    return _each_weight(folded, bind(base, delta))


def _each_weight(function, bound):
    return unflatten({path: function(path, x) for path, x in flatten(bound).items()})


def _by_layer(path, function, leaf):
    return jax.vmap(function)(leaf) if in_layers(path) else function(leaf)


def stack(deltas: Sequence[Any]) -> Any:
    """Several deltas in one, to be chosen by `ids` of `bind`.

    Raises:
        UserError: the deltas have not the same keys and kinds of leaves, or a kind that
            cannot be stacked.
    """
    if any(kinds(delta) != kinds(deltas[0]) for delta in deltas):
        raise UserError(
            'adapters: cannot stack adapters with different targets; '
            'train them with the same target rules'
        )
    deltas = [with_one_scale(delta) for delta in deltas]
    return jax.tree_util.tree_map_with_path(_stacked, *deltas, is_leaf=is_adapter)


def _stacked(path, *leaves):
    axis = _axis(path)
    if is_adapter(leaves[0]):
        return type(leaves[0]).stack(leaves, axis)
    return jnp.stack(leaves, axis)


def select(stacked: Any, i: int) -> Any:
    """The `i`-th delta of a stack (its rank the stack's, its scale folded in)."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.take(x, i, axis=_axis(path)), stacked
    )


def stacked_axes(stacked: Any) -> Any:
    """The axis of adapters of each array of a stack, for `jax.vmap`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _axis(path), stacked)


def is_adapter(x: Any) -> bool:
    """Whether a leaf of a delta is an adapter, which sits beside the base's leaf."""
    return isinstance(x, Adapter)


def with_dropout(delta: Any, rate: float) -> Any:
    """The same arrays, with another dropout on the input of every adapter."""
    return jax.tree.map(
        lambda x: x.with_dropout(rate) if is_adapter(x) else x,
        delta,
        is_leaf=is_adapter,
    )


def with_one_scale(delta: Any) -> Any:
    """The same changes of the base, with one scale for all layers of a kernel."""
    return jax.tree.map(
        lambda x: x.with_one_scale() if is_adapter(x) else x, delta, is_leaf=is_adapter
    )


def kinds(delta: Any) -> Any:
    """A delta with the name of each leaf's kind in its place: `Lora`, `Array`, …"""
    return jax.tree.map(
        lambda x: type(x).__name__ if is_adapter(x) else 'Array',
        delta,
        is_leaf=is_adapter,
    )


def size(tree: Any) -> int:
    """The number of elements in all leaves."""
    return sum(x.size for x in jax.tree.leaves(tree))


def _axis(path):
    return 1 if path[0].key == LAYERS else 0
