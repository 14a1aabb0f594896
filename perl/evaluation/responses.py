"""Samples a model's responses to prompts."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from perl import sharding
from perl.data import batching, examples
from perl.data.ordering import slices
from perl.rollout import choosing, refill
from perl.rollout.choosing import Sampling
from perl.rollout.responses import Responses, decode
from perl.runs.run import Run
from perl.system import placement

_BATCHES = 16  # of responses in one call, which cannot be interrupted
_STATIC = ('arch', 'sampling', 'count', 'samples')
_sample = jax.jit(refill.sample, static_argnames=_STATIC)


def respond(
    run: Run,
    params: Any,
    prompts: Sequence[str],
    sampling: Sampling,
    key: jax.Array,
    max_prompt: int = 0,
) -> list[str]:
    """One response to each of n prompts, as texts.

    Args:
        run: a run with tokenizer, architecture and mesh.
        params: bound or plain parameters, of the shapes that `run.arch` has.
        prompts: the prompts; a long prompt loses its beginning.
        sampling: how tokens are chosen.
        key: a random key; do not use it again.
        max_prompt: the most tokens of a prompt; 0 cuts as in training.
    """
    if not prompts:
        return []
    limit = max_prompt or run.config.lengths.prompt
    data, _ = examples.encode(prompts, run.tokenizer, limit, sampling.max_tokens)
    sampled = sample(run, params, data.prompts, sampling, key)
    return decode(run.tokenizer, sampled, prompts)


def sample(
    run: Run,
    params: Any,
    prompts: Sequence[np.ndarray],
    sampling: Sampling,
    key: jax.Array,
    samples: int = 1,
    multiple: int = 32,
) -> Responses:
    """Responses to prompts in token ids, `evaluation.batch_size` of them at a time.

    A response depends on its number and the key, but not on how many are sampled at a
    time, up to rounding (see `refill.sample`).

    Args:
        run: a run with tokenizer, architecture and mesh.
        params: bound or plain parameters, of the shapes that `run.arch` has.
        prompts: n prompts.
        sampling: how tokens are chosen.
        key: a random key; do not use it again.
        samples: responses to each prompt.
        multiple: padded prompts have a length that is a multiple of it.

    Returns:
        `n * samples` responses, in numpy arrays, those to one prompt in a row.
    """
    total, most = len(prompts) * samples, run.config.evaluation.batch_size
    slots = sharding.batch_rows(most, total, run.mesh)
    each = _samples_of_a_call(samples, min(total, _BATCHES * slots), run.mesh)
    prompts = [prompt for prompt in prompts for _ in range(samples // each)]
    keys = choosing.keys_of(key, total).reshape(-1, each)
    calls = -(-len(prompts) // (_BATCHES * slots // each))
    size = sharding.batch_rows(-(-len(prompts) // calls), len(prompts), run.mesh)
    parts = []
    for rows, new in slices(len(prompts), size):
        chosen = [prompts[i] for i in rows]
        batch = batching.left(chosen, run.tokenizer.pad, multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        part = _sample(
            run.arch, params, batch['tokens'], batch['lengths'],
            keys[rows].reshape(-1), sampling, slots, each,
        )  # fmt: skip
        new *= each
        parts.append(jax.tree.map(lambda x, new=new: x[:new], placement.fetch(part)))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def _samples_of_a_call(samples, most, mesh):
    """How many responses to a prompt a call samples, a divisor of `samples`: no more
    than `most` responses on all devices, each of which has prompts of its own."""
    most = max(1, most // (mesh.shape['data'] * mesh.shape['fsdp']))
    return max(n for n in range(1, min(samples, most) + 1) if samples % n == 0)
