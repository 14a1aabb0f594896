"""Functions of the logits of each slot, computed for a few slots at a time.

Logits are the largest array of a step: 49,152 float32 numbers a token in SmolLM2. What
is read of them is a number or two of each slot, which depends on that slot alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from perl.sharding import rows_of_a_device

# float32 logits that a device holds at a time, 64 MiB: more gained no speed on CPU
_LOGITS = 2**24
# tokens at a time all the same, so that products of a large vocabulary stay wide
_TOKENS = 256

# (params, states, targets) -> arrays `[B, C]` of `states [B, C, D]`, `targets [B, C]`;
# slot c of each array depends on slot c of the others alone
OfSlots = Callable[[Any, Any, Any], tuple[jax.Array, ...]]


def in_chunks(
    function: OfSlots, vocabulary: int, params: Any, states: Any, targets: Any = None
) -> tuple[jax.Array, ...]:
    """`function(params, states, targets)`, arrays `[B, T]`, with few logits at a time.

    Where all logits are few, this is a plain call. Otherwise neither the pass forward
    nor the pass backward has more of them than those of a chunk of slots. A number of
    a slot depends on the states of that slot alone, so the gradient of a state is a
    vector times the gradient of that number. Where no parameter of `params` is
    trained, the vectors `[B, T, D]` are computed with the numbers, and no logit is
    computed twice; else the pass backward computes all logits again.

    Args:
        function: see `OfSlots`; it must not close over traced arrays.
        vocabulary: how many logits a slot has.
        params: what it reads in every slot; random keys in it are folded with the index
            of the chunk.
        states: a tree of `[B, T, D]`.
        targets: a tree of integers `[B, T]`, or None.
    """
    B, T = jax.tree.leaves(states)[0].shape[:2]
    most, rows = max(_TOKENS, _LOGITS // vocabulary), rows_of_a_device(B)
    if most >= rows * T:
        return function(params, states, targets)
    count = -(-T // max(most // rows, 1))
    return _chunked(function, count, params, states, targets)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(function, count, params, states, targets):
    """As `in_chunks`, in `count` chunks."""
    return _over(function, count, params, states, targets)


def _forward(function, count, params, states, targets):
    """The numbers, and what their gradients need: the slopes of each of them where no
    parameter is trained, else the arguments."""
    trained = any(x.perturbed for x in jax.tree.leaves(params))
    given = jax.tree.map(lambda x: x.value, (params, states, targets))
    if trained:
        return _over(function, count, *given), (given, None)

    def with_slopes(params, states, targets):
        def one(i):
            def number(states):
                return function(params, states, targets)[i]

            value, pull = jax.vjp(number, states)
            return value, pull(jnp.ones_like(value))[0]

        like = jax.eval_shape(function, params, states, targets)
        # XLA computes once what the functions have in common, such as the logits
        values, slopes = zip(*map(one, range(len(like))), strict=True)
        return values, slopes

    numbers, slopes = _over(with_slopes, count, *given)
    return numbers, (None, slopes)


def _backward(function, count, kept, gradients):
    """The gradients of params, states and targets."""
    given, slopes = kept
    if slopes is None:
        params, states, targets = given

        def again(params, states):
            return _over(jax.checkpoint(function), count, params, states, targets)

        _, pull = jax.vjp(again, params, states)
        return *pull(tuple(map(_dense, gradients))), None

    def joined(*slopes):
        pairs = zip(slopes, gradients, strict=True)
        terms = [s.astype(g.dtype) * g[..., None] for s, g in pairs if not _is_zero(g)]
        return sum(terms, jnp.zeros(slopes[0].shape)).astype(slopes[0].dtype)

    return None, jax.tree.map(joined, *slopes), None


_chunked.defvjp(_forward, _backward, symbolic_zeros=True)


def _is_zero(gradient):
    return isinstance(gradient, jax.custom_derivatives.SymbolicZero)


def _dense(gradient):
    if _is_zero(gradient):
        return jnp.zeros(gradient.shape, gradient.dtype)
    return gradient


def _over(function, count, params, states, targets):
    """A function of slots on `count` chunks of them, one after the other."""
    slots = jax.tree.leaves(states)[0].shape[1]
    size = -(-slots // count)

    def cut(x):
        widths = [(0, 0)] * x.ndim
        widths[1] = (0, size * count - slots)
        x = jnp.pad(x, widths)
        return x.reshape(len(x), count, size, *x.shape[2:]).swapaxes(0, 1)

    def joined(x):
        x = x.swapaxes(0, 1)
        return x.reshape(len(x), count * size, *x.shape[3:])[:, :slots]

    def chunk(at):
        index, (states, targets) = at
        return function(_with_keys(params, index), states, targets)

    chunks = jnp.arange(count), jax.tree.map(cut, (states, targets))
    return jax.tree.map(joined, jax.lax.map(chunk, chunks))


def _with_keys(params, index):
    """Parameters whose random keys, of dropout, differ from chunk to chunk."""

    def fold(x):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        return jax.random.fold_in(x, index)

    return jax.tree.map(fold, params)
