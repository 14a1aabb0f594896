"""The kinds of weight leaves, and the only functions that open one.

A weight is an `Array`, or an `Adapted`: a frozen array and a low-rank correction
beside it. Model code calls `einsum(eqn, x, w)` or `take(w, ids)` and never learns
which kind it holds; a new kind of adapter is a new branch here, and nowhere else.

The product of the two factors is never formed: `x W + s (x A) B` costs two thin
contractions, and the gradient with respect to `A` and `B` needs neither `dW` nor a
merged `W`.

Dimensions used all over the package: B batch, T tokens, S keys, D width, H query
heads, K key/value heads, N head width, F hidden width, V vocabulary, R rank,
L layers.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Leaf(NamedTuple):
    """One parameter as the model declares it.

    Attributes:
        shape: with the layer axis first under `layers`.
        axes: the logical name of each axis; shardings derive from it.
        inputs: how many axes (after the layer axis) are inputs of a kernel;
            0 for what is no kernel (norms, biases).
        std: of the initial normal distribution; None starts at one.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    inputs: int
    std: float | None


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['a', 'b'],
    meta_fields=['scale', 'dropout'],
)
@dataclasses.dataclass(frozen=True)
class Lora:
    """Two low-rank factors of one kernel (LoRA, arXiv 2106.09685, eq. 3).

    Attributes:
        a: `[*inputs, R]` float32 (a leading `L` where layers are stacked, then a
            leading number of adapters where several are stacked).
        b: `[R, *outputs]` float32, likewise.
        scale: what the product is multiplied with.
        dropout: rate on the adapter's input while training.
    """

    a: jax.Array
    b: jax.Array
    scale: float
    dropout: float = 0.0


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['base', 'lora', 'ids', 'key'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Adapted:
    """A frozen kernel and its adapter; lives only inside a jitted step.

    Attributes:
        base: the kernel.
        lora: its factors; with `ids` they carry a leading axis of adapters.
        ids: `[B]` int32, the adapter of each example, or None.
        key: a random key for dropout, or None to leave dropout out.
    """

    base: jax.Array
    lora: Lora
    ids: jax.Array | None = None
    key: jax.Array | None = None


Weight = jax.Array | Adapted


def einsum(eqn: str, x: jax.Array, w: Weight, dtype=None) -> jax.Array:
    """`jnp.einsum(eqn, x, w)` in the dtype of `x`, whatever kind of leaf `w` is.

    Args:
        eqn: two operands, explicit output; the first label of `x` is the batch.
        x: activations.
        w: the weight; its leading axes are the inputs, as the model declares them.
        dtype: of the result; that of `x` by default.
    """
    eqn, dtype = eqn.replace(' ', ''), dtype or x.dtype
    if isinstance(w, Adapted):
        base = _product(eqn, x, w.base.astype(x.dtype), dtype)
        return base + _low_rank(eqn, _drop(x, w), w, dtype)
    return _product(eqn, x, w.astype(x.dtype), dtype)


def take(w: Weight, ids: jax.Array) -> jax.Array:
    """Rows of an embedding `[V, D]` for `ids [...]`: `[..., D]`.

    Dropout leaves a lookup alone, as in PEFT: its input is a token, of which there are
    no parts to drop.
    """
    if not isinstance(w, Adapted):
        return jnp.take(w, ids, axis=0)
    a, b = w.lora.a, w.lora.b
    if w.ids is None:
        delta = jnp.take(a, ids, axis=0) @ b
    else:
        delta = jnp.einsum('btr,brd->btd', a[w.ids[:, None], ids], b[w.ids])
    return jnp.take(w.base, ids, axis=0) + (w.lora.scale * delta).astype(w.base.dtype)


def on_base(function: Callable[[jax.Array], jax.Array], w: Weight) -> Weight:
    """The weight with its array, beside which an adapter may sit, changed."""
    if isinstance(w, Adapted):
        return dataclasses.replace(w, base=function(w.base))
    return function(w)


def delta(lora: Lora, layered: bool) -> jax.Array:
    """The correction as one array, `scale * A B`: for merging only."""
    a, b = lora.a, lora.b
    if layered:
        return jax.vmap(functools.partial(jnp.tensordot, axes=1))(a, b) * lora.scale
    return jnp.tensordot(a, b, axes=1) * lora.scale


def _product(eqn: str, x: jax.Array, w: jax.Array, dtype) -> jax.Array:
    """The contraction of the last axes of `x` as one product of two matrices.

    Its gradients contract one axis too; of tensors, XLA would copy every operand of
    the gradient of `w` in transposed order first.
    """
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    shared = [c for c in x_labels if c in w_labels]
    if any(c in out for c in shared):  # each example has a kernel of its own
        return jnp.einsum(eqn, x, w, preferred_element_type=dtype)
    split, first = x.ndim - len(shared), w_labels[0] in shared
    inner = math.prod(x.shape[split:])
    flat = w.reshape((inner, -1) if first else (-1, inner))
    axes = (((1,), (0 if first else 1,)), ((), ()))
    y = jax.lax.dot_general(
        x.reshape(-1, inner), flat, axes, preferred_element_type=dtype
    )
    rest = w.shape[len(shared) :] if first else w.shape[: -len(shared)]
    return y.reshape(*x.shape[:split], *rest)


def _low_rank(eqn: str, x: jax.Array, w: Adapted, dtype) -> jax.Array:
    x_labels, w_labels, out = eqn.replace('->', ',').split(',')
    a, b, batch = w.lora.a.astype(x.dtype), w.lora.b.astype(x.dtype), ''
    if w.ids is not None:
        a, b, batch = a[w.ids], b[w.ids], x_labels[0]
    split = a.ndim - 1 - len(batch)
    rank = next(c for c in 'rRzZ' if c not in eqn)
    first = (a, batch + w_labels[:split] + rank)
    second = (b, batch + rank + w_labels[split:])
    if not set(w_labels[:split]) & set(x_labels):  # a tied unembedding: B comes first
        first, second = second, first
    kept = ''.join(c for c in x_labels if c not in first[1] or c in batch)
    thin = _product(f'{x_labels},{first[1]}->{kept}{rank}', x, first[0], dtype)
    thin = thin.astype(x.dtype) * w.lora.scale
    return _product(f'{kept}{rank},{second[1]}->{out}', thin, second[0], dtype)


def _drop(x: jax.Array, w: Adapted) -> jax.Array:
    if w.key is None or not w.lora.dropout:
        return x
    keep = jax.random.bernoulli(w.key, 1 - w.lora.dropout, x.shape)
    return jnp.where(keep, x / (1 - w.lora.dropout), 0).astype(x.dtype)
