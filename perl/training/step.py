"""The one training step of every stage.

State is a plain tree `{trainable, opt, step, ...}`; a stage may keep more in it.
A loss returns sums and counts, which are divided once at the end, so that a batch in
several micro-batches gives the same update as the batch in one.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Loss = Callable[[Any, Any, Any, jax.Array], tuple[jax.Array, tuple[jax.Array, dict]]]


class Average(NamedTuple):
    """A metric of one step: a mean, and how many things it is a mean of.

    Attributes:
        value: scalar float32.
        count: scalar, tokens or rows; 1 for a metric that is not a mean.
    """

    value: jax.Array
    count: jax.Array | int


def init(trainable: Any, optimizer: optax.GradientTransformation) -> dict[str, Any]:
    """The state before the first step."""
    return {
        'trainable': trainable,
        'opt': optimizer.init(trainable),
        'step': jnp.zeros((), jnp.int32),
    }


def step(
    state: dict[str, Any],
    frozen: Any,
    batch: Any,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    seed: int = 0,
    micro_batches: int = 1,
    neighbours: int = 1,
) -> tuple[dict[str, Any], dict[str, Average]]:
    """One update of the trainable tree.

    Args:
        state: donated by the caller's jit.
        frozen: what the loss reads and no update changes.
        batch: a tree of arrays `[B, ...]`.
        loss: `(trainable, frozen, batch, key) -> sum, (count, {name: (sum, count)})`.
        optimizer: over the trainable tree alone.
        seed: of dropout; the key of a step is a function of seed and step.
        micro_batches: the batch is taken in this many slices, one after the other;
            their gradients are added up.
        neighbours: so many consecutive rows stay together in a slice.

    Returns:
        The new state, and an `Average` for each metric: loss, grad_norm and the loss's
        own.
    """
    key = jax.random.fold_in(jax.random.key(seed), state['step'])
    if micro_batches == 1:
        (total, (count, sums)), grads = _gradient(loss)(
            state['trainable'], frozen, batch, key
        )
    else:
        total, count, sums, grads = _accumulate(
            loss, state, frozen, batch, key, (micro_batches, neighbours)
        )
    scale = 1 / jnp.maximum(count, 1)
    grads = jax.tree.map(lambda g: g * scale, grads)
    # optax raises floats to the power of an int32 count, so it needs promotion
    with jax.numpy_dtype_promotion('standard'):
        updates, opt = optimizer.update(grads, state['opt'], state['trainable'])
    metrics = {name: _average(*pair) for name, pair in sums.items()}
    metrics['loss'] = Average(total * scale, count)
    metrics['grad_norm'] = Average(optax.tree.norm(grads), 1)
    state = {
        **state,
        'trainable': optax.apply_updates(state['trainable'], updates),
        'opt': opt,
        'step': state['step'] + 1,
    }
    return state, metrics


def values(metrics: dict[str, Average]) -> dict[str, jax.Array]:
    """The values of a step's metrics, scalars."""
    return {name: average.value for name, average in metrics.items()}


def over_steps(history: Sequence[dict[str, Average]]) -> dict[str, float]:
    """Metrics of several steps as if their batches were one.

    Each is a mean over everything that was counted, and not a mean of means: steps with
    more tokens weigh more. A metric whose counts are all 0 is 0.

    Args:
        history: of steps with the same metrics, on the host.
    """
    means = {}
    for name in history[0]:
        steps = [step[name] for step in history]
        total = sum(float(x.value) * float(x.count) for x in steps)
        means[name] = total / (sum(float(x.count) for x in steps) or 1.0)
    return means


def _average(total, count):
    return Average(total / jnp.maximum(count, 1).astype(total.dtype), count)


def _gradient(loss):
    return jax.value_and_grad(loss, has_aux=True)


def _accumulate(loss, state, frozen, batch, key, parts):
    """Micro-batch i holds rows i, i + micro_batches, ..., or so groups of neighbours:
    each device keeps rows of every one. `parts` says how many of both."""
    micro_batches, neighbours = parts

    def split(x):
        groups = x.reshape(-1, micro_batches, neighbours, *x.shape[1:])
        return groups.swapaxes(0, 1).reshape(micro_batches, -1, *x.shape[1:])

    slices = jax.tree.map(split, batch)

    def part(carry, xs):
        i, rows = xs
        (total, (count, sums)), grads = _gradient(loss)(
            state['trainable'], frozen, rows, jax.random.fold_in(key, i)
        )
        return jax.tree.map(jnp.add, carry, (total, count, sums, grads)), None

    first = jax.tree.map(lambda x: x[0], slices)
    shapes = jax.eval_shape(
        lambda: (lambda out: (out[0][0], *out[0][1], out[1]))(
            _gradient(loss)(state['trainable'], frozen, first, key)
        )
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (total, count, sums, grads), _ = jax.lax.scan(
        part, zeros, (jnp.arange(micro_batches), slices)
    )
    return total, count, sums, grads
