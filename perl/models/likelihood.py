"""Log-probs of tokens under a decoder, and entropies of what they are drawn from."""

from typing import Any

import jax
import jax.numpy as jnp

from perl.losses import language
from perl.models import decoder
from perl.models.architecture import Architecture


def token_scores(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Log-probs of tokens, and entropies: `[B, T]` float32 each, in nats.

    Where the architecture recomputes its layers, the logits are recomputed too, because
    they are the largest array of a step. An entropy that nobody reads is not computed.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        states: `[B, T, D]`; the state in a slot predicts the target in that slot.
        targets: `[B, T]` int32.
        temperature: the logits are divided by it.
    """

    def scores(params, states):
        logits = decoder.unembed(arch, params, states)
        return (
            language.log_probs(logits, targets, temperature),
            language.entropy(logits, temperature),
        )

    return (jax.checkpoint(scores) if arch.remat else scores)(params, states)


def token_log_probs(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> jax.Array:
    """The log-probs `[B, T]` of `token_scores` alone."""
    return token_scores(arch, params, states, targets, temperature)[0]


def next_token_log_probs(
    arch: Architecture, params: Any, rows: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Log-probs of the next token in each slot of whole rows, and which of them count.

    Slot t is about token t + 1. The last slot is about no token and never counts.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        rows: tokens, positions and segments int32, and completion bool, which tokens
            count: `[B, T]` each.

    Returns:
        Log-probs float32 and a mask bool, `[B, T]` each.
    """
    states = decoder.hidden(
        arch, params, rows['tokens'], rows['positions'], rows['segments']
    )
    targets = jnp.roll(rows['tokens'], -1, axis=1)
    mask = jnp.roll(rows['completion'], -1, axis=1).at[:, -1].set(False)
    return token_log_probs(arch, params, states, targets), mask
