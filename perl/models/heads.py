"""Scalar heads: rewards of completions, values of states."""

from typing import Any

import jax
import jax.numpy as jnp

from perl.models import decoder
from perl.models.architecture import Architecture
from perl.weights import Leaf

HEAD = 'head'


def head_leaves(width: int) -> dict[str, Leaf]:
    """The declaration of a scalar head."""
    return {
        'kernel': Leaf((width,), ('norm',), 0, (width + 1) ** -0.5),
        'bias': Leaf((), (), 0, 0.0),
    }


def init_head(key: jax.Array, width: int) -> dict[str, jax.Array]:
    """A fresh float32 head, `kernel [D]` of `N(0, 1 / (D + 1))` (Stiennon 2020) and a
    scalar `bias`; consumes the key."""
    std = (width + 1) ** -0.5
    return {
        'kernel': std * jax.random.normal(key, (width,), jnp.float32),
        'bias': jnp.zeros((), jnp.float32),
    }


def scalar(params: Any, states: jax.Array) -> jax.Array:
    """The head's output `[...]` in float32 on hidden states `[..., D]`.

    A head of each example, kernel `[B, D]` and bias `[B]` (see `tree.bind`), reads
    states `[B, ..., D]`.
    """
    kernel, bias = params[HEAD]['kernel'], params[HEAD]['bias']
    states = states.astype(jnp.float32)
    if kernel.ndim == 1:
        return jnp.matmul(states, kernel, precision='highest') + bias
    bias = bias.reshape(-1, *[1] * (states.ndim - 2))
    return jnp.einsum('b...d,bd->b...', states, kernel, precision='highest') + bias


def rewards(arch: Architecture, params: Any, batch: dict[str, Any]) -> jax.Array:
    """The reward at the last token of each completion, `[N, E]` float32."""
    return scalar(params, last_states(arch, params, batch))


def last_states(arch: Architecture, params: Any, batch: dict[str, Any]) -> jax.Array:
    """The final state at the last token of each completion, `[N, E, D]` in the compute
    dtype."""
    rows = (batch[name] for name in ('tokens', 'positions', 'segments', 'ends'))
    return decoder.hidden(arch, params, *rows)


def score(arch: Architecture, params: Any, batch: Any) -> jax.Array:
    """Raw rewards float32 `[B, K]` of a batch with tokens `[B, rows, T]`, or with the
    states `[B, K, D]` in which its completions end."""
    if 'states' in batch:
        return scalar(params, batch['states'])
    each = rewards(arch, params, rows(batch))
    return each.reshape(batch['tokens'].shape[0], -1)


def rows(batch: Any) -> Any:
    """The model's inputs in a batch: `[B, rows, ...]` -> `[B * rows, ...]`."""
    names = ('tokens', 'positions', 'segments', 'ends')
    return {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in names}
