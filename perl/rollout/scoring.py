"""What roles compute for sampled responses, by one teacher-forced pass each.

Rows are a prompt padded on the left to P slots and R slots of response: `tokens
[B, P + R]` with prompts of `lengths [B]`. Everything per token is `[B, R]`.

Where each prompt has `samples` responses, in rows one after the other, the model reads
several of them behind one copy of their prompt, which is less work and equal numbers:
attention takes them apart by their segments. On a mesh they are as many as leave each
device as many rows as any other.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from perl import sharding
from perl.judges import panel
from perl.judges.panel import Panel
from perl.models import decoder, heads, likelihood
from perl.models.architecture import Architecture
from perl.models.shared_rows import together
from perl.rollout.sampler import left_padded


def log_probs(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
    samples: int = 1,
) -> jax.Array:
    """Log-probs `[B, R]` of the responses at the end of `tokens [B, P + R]`."""
    return scores(arch, params, tokens, lengths, response, temperature, samples)[0]


def scores(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    temperature: float,
    samples: int = 1,
) -> tuple[jax.Array, jax.Array]:
    """Log-probs `[B, R]` of the responses, and the entropy `[B, R]` of the distribution
    that each token comes from."""
    states = _states(arch, params, tokens, lengths, response, samples)
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
    samples: int = 1,
) -> jax.Array:
    """KL(policy || reference) `[B, R]` of each next-token distribution, exactly."""
    both = params, reference
    states = tuple(_states(arch, p, tokens, lengths, response, samples) for p in both)
    return likelihood.divergence(arch, both, states, temperature)


def values(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    lengths: jax.Array,
    response: int,
    samples: int = 1,
) -> jax.Array:
    """The value of each state before a response token, `[B, R]`."""
    return heads.scalar(
        params, _states(arch, params, tokens, lengths, response, samples)
    )


def rewards(
    arch: Architecture,
    judges: Panel,
    tokens: jax.Array,
    prompt_lengths: jax.Array,
    response_lengths: jax.Array,
    response: int,
    samples: int = 1,
) -> jax.Array:
    """The reward `[B]` that a panel gives to each response, normalised."""
    batch = _rows(arch, tokens, prompt_lengths, response, samples)
    rows, prompt = len(batch['tokens']), tokens.shape[1] - response
    last = response_lengths.reshape(rows, -1) - 1
    batch['ends'] = prompt + response * jnp.arange(last.shape[1])[None] + last
    return panel.rewards(arch, judges, batch).reshape(-1)


def _states(arch, params, tokens, lengths, response, samples):
    """The state before each token of the responses, `[B, R, D]`."""
    rows = _rows(arch, tokens, lengths, response, samples)
    prompt, slots = tokens.shape[1] - response, rows['tokens'].shape[1]
    before = jnp.arange(prompt - 1, slots - 1).reshape(-1, response)
    before = before.at[:, 0].set(prompt - 1)  # a response begins behind its prompt
    before = jnp.broadcast_to(before.ravel(), (len(rows['tokens']), before.size))
    states = decoder.hidden(arch, params, **rows, output_slots=before)
    return states.reshape(len(tokens), response, -1)


def _rows(arch, tokens, lengths, response, samples):
    """What the model reads: tokens, positions and segments `[G, P + K R]`, of K
    responses behind each prompt."""
    prompt = tokens.shape[1] - response
    # joined rows still divide over the devices that the responses divide over
    joined = math.gcd(samples, sharding.rows_of_a_device(len(tokens)))
    count = together(arch.width, joined, prompt, response)
    positions, segments = left_padded(lengths, prompt, response)
    if count > 1:
        own = 1 + jnp.arange(len(tokens)) % count
        segments = segments.at[:, prompt:].set(own[:, None])
    rows = {'tokens': tokens, 'positions': positions, 'segments': segments}
    return {name: _behind_one(x, prompt, count) for name, x in rows.items()}


def _behind_one(x, prompt, count):
    """`[B, P + R]` as `[B / count, P + count R]`, with the first prompt of each."""
    groups = len(x) // count
    return jnp.concatenate(
        [x[::count, :prompt], x[:, prompt:].reshape(groups, -1)], axis=1
    )
