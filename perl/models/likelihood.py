"""Log-probs of tokens under a decoder, and entropies of what they are drawn from."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from perl.losses import kl, language
from perl.models import decoder
from perl.models.architecture import Architecture
from perl.models.chunks import in_chunks
from perl.models.gathered import gathered
from perl.weights import on_arrays


def token_scores(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Log-probs of tokens, and entropies: `[B, T]` float32 each, in nats.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        states: `[B, T, D]`; the state in a slot predicts the target in that slot.
        targets: `[B, T]` int32.
        temperature: the logits are divided by it.
    """

    def scores(params, states, targets):
        logits = decoder.unembed(arch, params, states)
        return (
            language.log_probs(logits, targets, temperature),
            language.entropy(logits, temperature),
        )

    return _in_chunks(arch, scores, params, states, targets)


def token_log_probs(
    arch: Architecture,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    temperature: float = 1.0,
) -> jax.Array:
    """The log-probs `[B, T]` of `token_scores` alone."""

    def scores(params, states, targets):
        logits = decoder.unembed(arch, params, states)
        return (language.log_probs(logits, targets, temperature),)

    return _in_chunks(arch, scores, params, states, targets)[0]


def divergence(
    arch: Architecture, params: Any, states: Any, temperature: float = 1.0
) -> jax.Array:
    """KL(p || q) `[B, T]` float32 of the next-token distributions of two decoders.

    Args:
        arch: of both.
        params: the parameters of p and those of q, bound or plain.
        states: those of p and those of q, `[B, T, D]` each.
        temperature: the logits are divided by it.
    """

    def scores(params, states, _):
        logits = map(functools.partial(decoder.unembed, arch), params, states)
        return (kl.full(*logits, temperature),)

    return _in_chunks(arch, scores, params, states)[0]


def predicted_log_probs(
    arch: Architecture, params: Any, rows: dict[str, jax.Array]
) -> jax.Array:
    """Log-probs float32 `[B, S]` of some tokens of whole rows.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        rows: int32: tokens, positions and segments `[B, T]`; targets, the tokens that
            are asked for, and sources, the slots that predict them, `[B, S]`.
    """
    inputs = (rows[name] for name in ('tokens', 'positions', 'segments', 'sources'))
    states = decoder.hidden(arch, params, *inputs)
    return token_log_probs(arch, params, states, rows['targets'])


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


def _in_chunks(arch, scores, params, states, targets=None):
    """`scores` of slots, which reads the output layer alone of `params`."""
    name = 'embed' if arch.tied else 'unembed'
    axes = ('vocab', 'embed') if arch.tied else ('embed', 'vocab')
    layer = jax.tree.map(
        # whole on each device of `fsdp`, or every chunk would gather it again
        lambda x: {name: on_arrays(gathered, x[name], axes)},
        params,
        is_leaf=lambda x: isinstance(x, dict),
    )
    return in_chunks(scores, arch.vocabulary, layer, states, targets)
