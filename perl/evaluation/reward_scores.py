"""Rewards of batches, by a reward model or by a panel of several."""

import functools
from typing import Any

import jax
import numpy as np

from perl.adapters import tree
from perl.data import batching
from perl.data.examples import Examples
from perl.judges import panel
from perl.judges.panel import Panel
from perl.models import heads
from perl.models.architecture import Architecture
from perl.runs.roles import Role

RewardModel = Role | Panel


@functools.cache
def compiled(arch: Architecture) -> Any:
    """The jitted function from (the parts of a reward model, a batch `[B, rows, T]`) to
    rewards `[B, K]`. The parts are a panel, or a role's base and delta."""

    def scorer(parts, batch):
        if isinstance(parts, Panel):
            rewards = panel.rewards(arch, parts, heads.rows(batch))
            return rewards.reshape(batch['tokens'].shape[0], -1)
        return heads.score(arch, tree.bind(*parts), batch)

    return jax.jit(scorer)


def collate(
    share_prompts: bool, data: Examples, rows: Any, multiple: int
) -> dict[str, np.ndarray]:
    """A batch in which the first axis of all arrays is the example: tokens
    `[B, rows, T]`, or states `[B, K, D]` where the examples have them.

    Args:
        share_prompts: the completions of an example are in one row, after one prompt.
        data: the examples.
        rows: the indices of B examples.
        multiple: T is a multiple of it.
    """
    if data.states is not None:
        most = max(len(data.completions[i]) for i in rows)
        batch = batching.per_example(data, rows)
        return {**batch, 'states': data.states[rows, :most]}
    shared = share_prompts and len(data.completions[0]) > 1
    layout = 'shared' if shared else 'apart'
    batch = batching.collate(data, rows, layout, multiple)
    return {
        name: x
        if name in batching.PER_EXAMPLE
        else x.reshape(len(rows), -1, *x.shape[1:])
        for name, x in batch.items()
    }


def by_record(scores: np.ndarray, data: Examples) -> list[np.ndarray]:
    """The scores of each record's completions: `[n, K]` -> n arrays `[K_i]`."""
    sizes = map(len, data.completions)
    return [row[:size] for row, size in zip(scores, sizes, strict=True)]
