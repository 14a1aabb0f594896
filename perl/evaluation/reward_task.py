"""The data and settings that a reward model is trained and measured with."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from perl import sharding
from perl.config import lineage
from perl.data import by_example
from perl.data.examples import Examples
from perl.data.ordering import once
from perl.data.records import Record
from perl.evaluation import reward_scores
from perl.evaluation.reward_scores import RewardModel
from perl.judges.panel import Panel
from perl.models.architecture import Architecture
from perl.runs.run import Run
from perl.system import placement


@dataclasses.dataclass(frozen=True)
class RewardTask:
    """The labelled records of a reward stage, and how rewards of them are computed.

    An average and an ensemble have the task of their member stages.

    Attributes:
        section: the settings of the stage that trains.
        raw: comparisons or ratings by split, before encoding.
        demonstrations: of the validation split.
        encode: records in token ids; with a name, cuts are printed.
        arch: the decoder.
        mesh: of devices.
        multiple: row lengths are multiples of it.
        known: the encoded records of some splits, where they are made already.
    """

    section: ConfigDict
    raw: dict[str, list]
    demonstrations: Sequence[Record]
    encode: Callable[..., Examples]
    arch: Architecture
    mesh: jax.sharding.Mesh
    multiple: int
    known: Mapping[str, Examples] = dataclasses.field(default_factory=dict)

    def records(self, split: str, name: str = '') -> Examples:
        """The encoded records of a split; with a name, cuts are printed."""
        if split in self.known:
            return self.known[split]
        return self.encode(self.raw[split], name)

    def collate(
        self, data: Examples, rows: Any, own: Any = None
    ) -> dict[str, np.ndarray]:
        """The batch of some examples, tokens `[B, rows, T]`; see `by_example`."""
        shared = self.section.share_prompts
        return by_example.collate(shared, data, rows, self.multiple, own)

    def scores(self, model: RewardModel, data: Examples) -> np.ndarray:
        """Rewards float32 `[n, K]` of all examples: raw for a role, normalised for a
        panel.

        K is the largest number of completions of an example. The rewards of missing
        completions are NaN.

        Args:
            model: a role or a panel.
            data: n examples, in batches of at most as many as training takes.
        """
        parts = model if isinstance(model, Panel) else (model.base, model.delta)
        out = np.zeros((len(data), data.completion_counts.max()), np.float32)
        for rows, batch in self.batches(data):
            rewards = placement.fetch(reward_scores.compiled(self.arch)(parts, batch))
            out[rows, : rewards.shape[1]] = rewards[: len(rows)]
        missing = np.arange(out.shape[1]) >= data.completion_counts[:, None]
        return np.where(missing, np.float32(np.nan), out)

    def batches(self, data: Examples) -> Iterator[tuple[np.ndarray, Any]]:
        """All n examples once, in batches of at most as many as training takes: which
        they are, int `[m]`, and arrays of them on the mesh, `[B, ...]` with B >= m."""
        size = self.rows_of_a_batch(data)
        for rows, new in once(data, size):
            batch = self.collate(data, rows)
            yield rows[:new], sharding.shard_batch(batch, self.mesh)

    def rows_of_a_batch(self, data: Examples) -> int:
        """How many of n examples are scored together."""
        return sharding.batch_rows(self.section.batch_size, len(data), self.mesh)


def reward_task(run: Run, stage: str) -> RewardTask:
    """The task of a stage that makes a reward model."""
    kind, _ = lineage.reads(run.config, stage)
    return RewardTask(
        section=run.config[lineage.origin(run.config, stage)],
        raw=run.dataset.of_kind(kind),
        demonstrations=run.dataset.demonstrations['val'],
        encode=run.encoded,
        arch=run.arch,
        mesh=run.mesh,
        multiple=run.multiple,
    )
