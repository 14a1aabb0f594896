"""Rewards of batches, by a reward model or by a panel of several."""

import functools
from typing import Any

import jax
import numpy as np

from perl.adapters import tree
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


def by_record(scores: np.ndarray, data: Examples) -> list[np.ndarray]:
    """The scores of each record's completions: `[n, K]` -> n arrays `[K_i]`."""
    sizes = map(len, data.completions)
    return [row[:size] for row, size in zip(scores, sizes, strict=True)]
