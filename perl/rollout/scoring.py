"""What roles compute for sampled responses, by one teacher-forced pass each.

Rows are a prompt padded on the left to P slots and R slots of response: `tokens
[B, P + R]` with prompts of `lengths [B]`. Everything per token is `[B, R]`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.judges import panel
from perl.judges.panel import Panel
from perl.models import decoder, heads, likelihood
from perl.models.architecture import Architecture
from perl.rollout.sampler import left_padded


def log_probs(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
) -> jax.Array:
    """Log-probs `[B, R]` of the responses at the end of `tokens [B, P + R]`."""
    return scores(arch, params, tokens, lengths, response, temperature)[0]


def scores(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
) -> tuple[jax.Array, jax.Array]:
    """Log-probs `[B, R]` of the responses, and the entropy `[B, R]` of the distribution
    that each token comes from."""
    states = _states(arch, params, tokens, lengths, response)
    targets = tokens[:, -response:]
    return likelihood.token_scores(arch, params, states, targets, temperature)


def divergence(
    arch: Architecture,
    params: Any,
    reference: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
) -> jax.Array:
    """KL(policy || reference) `[B, R]` of each next-token distribution, exactly."""
    both = params, reference
    states = tuple(_states(arch, p, tokens, lengths, response) for p in both)
    return likelihood.divergence(arch, both, states, temperature)


def values(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
) -> jax.Array:
    """The value of each state before a response token, `[B, R]`."""
    return heads.scalar(params, _states(arch, params, tokens, lengths, response))


def rewards(
    arch: Architecture,
    judges: Panel,
    tokens: jax.Array,
    prompt_lengths: jax.Array,
    response_lengths: jax.Array,
    response: int,
) -> jax.Array:
    """The reward `[B]` that a panel gives to each response, normalised."""
    prompt = tokens.shape[1] - response
    positions, segments = left_padded(prompt_lengths, prompt, response)
    batch = {'tokens': tokens, 'positions': positions, 'segments': segments}
    batch['ends'] = (prompt + response_lengths - 1)[:, None]
    return panel.rewards(arch, judges, batch)[:, 0]


def _states(arch, params, tokens, lengths, response):
    prompt = tokens.shape[1] - response
    positions, segments = left_padded(lengths, prompt, response)
    before = jnp.arange(prompt - 1, prompt + response - 1)
    before = jnp.broadcast_to(before, (len(tokens), response))
    return decoder.hidden(arch, params, tokens, positions, segments, before)
