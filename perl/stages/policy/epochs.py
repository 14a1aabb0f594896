"""The updates of one iteration: every episode in several epochs of minibatches."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from perl import sharding
from perl.losses.algorithms import ALGORITHMS
from perl.stages.frozen import Frozen
from perl.stages.policy.episodes import Experience
from perl.stages.policy.feed import Feed
from perl.stages.policy.objective import neighbours
from perl.training.compiled import Compiled
from perl.training.step import over_steps


class Epochs:
    """Cuts the experience of an iteration into minibatches, and learns from each."""

    def __init__(self, section: ConfigDict, feed: Feed, update: Compiled):
        """Compiles nothing yet.

        Args:
            section: the config of the stage.
            feed: of texts that join the updates; its seed is that of the order.
            update: the compiled step.
        """
        self._section, self._feed, self._update = section, feed, update

    def learn(
        self, state: Any, frozen: Frozen, batch: Experience, at: int
    ) -> tuple[Any, dict[str, float]]:
        """All updates of iteration `at`, and their metrics as if they were one.

        Args:
            state: donated; the arrays that `Plan.init` made.
            frozen: the roles.
            batch: of B responses, with arrays `[B, ...]`; B is `batch_size`.
            at: the iteration, from 0.
        """
        section, n = self._section, self._section.batch_size
        rows, history = n // section.minibatches, []
        together = neighbours(section)
        for epoch in range(section.epochs):
            rng = np.random.default_rng((self._feed.seed, at, epoch))
            first = together * rng.permutation(n // together)
            shuffled = (first[:, None] + np.arange(together)).ravel()
            for i in range(section.minibatches):
                chosen = shuffled[i * rows : (i + 1) * rows]
                minibatch = _take(batch, chosen) if section.minibatches > 1 else batch
                minibatch = self._with_text(minibatch, len(history), at)
                state, metrics = self._update(state, frozen, minibatch)
                history.append(jax.device_get(metrics))
        return state, over_steps(history)

    def _with_text(self, batch, done, at):
        """The minibatch with text whose mean loss weighs `ptx_coefficient` beside the
        policy's; `done` updates of iteration `at` were before it."""
        section = self._section
        if not section.ptx_coefficient:
            return batch
        by_tokens = ALGORITHMS[section.algorithm].average == 'tokens'
        count = int(jnp.sum(batch.mask)) if by_tokens else len(batch.mask)
        update = at * section.epochs * section.minibatches + done
        text = self._feed.text(update, section.ptx_coefficient * count)
        return dataclasses.replace(batch, text=text)


@jax.jit
def _take(batch: Experience, rows: jax.Array) -> Experience:
    """Rows of a batch, spread over the mesh like any batch."""
    return jax.tree.map(
        lambda x: sharding.constrain(x[rows], 'batch', *([None] * (x.ndim - 1))), batch
    )
