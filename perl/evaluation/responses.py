"""Samples a model's responses to prompts, as texts."""

from collections.abc import Sequence
from typing import Any

import jax

from perl import sharding
from perl.data import batching, examples
from perl.data.batching import slices
from perl.rollout import sampler
from perl.rollout.responses import decode
from perl.rollout.sampler import Sampling
from perl.runs.run import Run

_sample = jax.jit(sampler.sample, static_argnames=('arch', 'sampling'))


def respond(
    run: Run,
    params: Any,
    prompts: Sequence[str],
    sampling: Sampling,
    key: jax.Array,
    max_prompt: int = 0,
) -> list[str]:
    """One response to each of n prompts, in batches of `evaluation.batch_size`.

    Args:
        run: a run with tokenizer, architecture and mesh.
        params: bound or plain parameters, of the shapes that `run.arch` has.
        prompts: the prompts; a long prompt loses its beginning.
        sampling: how tokens are chosen.
        key: a random key; do not use it again.
        max_prompt: the most tokens of a prompt; 0 cuts as in training.
    """
    limit = max_prompt or run.config.lengths.prompt
    data, _ = examples.encode(prompts, run.tokenizer, limit, sampling.max_tokens)
    size = run.config.evaluation.batch_size
    size = sharding.batch_rows(size, len(prompts), run.mesh)
    texts = []
    for number, (rows, new) in enumerate(slices(len(prompts), size)):
        batch = batching.left([data.prompts[i] for i in rows], run.tokenizer.pad)
        batch = sharding.shard_batch(batch, run.mesh)
        # the first batch uses `key` itself
        batch_key = jax.random.fold_in(key, number) if number else key
        tokens, lengths = batch['tokens'], batch['lengths']
        sampled = _sample(run.arch, params, tokens, lengths, batch_key, sampling)
        texts += decode(run.tokenizer, sampled, [prompts[i] for i in rows])[:new]
    return texts
