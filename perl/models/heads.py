"""Scalar heads for reward and value, and log-probs of tokens."""

from typing import Any

import jax
import jax.numpy as jnp

from perl.losses import language
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
    """A fresh float32 head, `N(0, 1 / (D + 1))` (Stiennon 2020); consumes the key."""
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
        return states @ kernel + bias
    bias = bias.reshape(-1, *[1] * (states.ndim - 2))
    return jnp.einsum('b...d,bd->b...', states, kernel) + bias


def rewards(arch: Architecture, params: Any, batch: dict[str, Any]) -> jax.Array:
    """The reward at the last token of each completion, `[N, E]` float32."""
    rows = (batch[name] for name in ('tokens', 'positions', 'segments', 'ends'))
    return scalar(params, decoder.hidden(arch, params, *rows))


def token_log_probs(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> jax.Array:
    """Log-probs `[B, T]` float32 of `targets` under the states before them."""
    return token_scores(arch, params, states, targets, temperature)[0]


def token_scores(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Log-probs of `targets`, and the entropy of what they were drawn from: `[B, T]`.

    Where the architecture recomputes its layers, it recomputes the logits too: they
    are the largest array of a step. An entropy that nobody reads is not computed.
    """

    def of(params, states):
        logits = decoder.unembed(arch, params, states)
        return (
            language.log_probs(logits, targets, temperature),
            language.entropy(logits, temperature),
        )

    return (jax.checkpoint(of) if arch.remat else of)(params, states)
