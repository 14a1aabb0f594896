"""What a policy stage reads in each iteration: prompts, text, and the gold rewards."""

from typing import Any

import numpy as np

from perl import sharding
from perl.data import batching, order
from perl.evaluation.answers import decode
from perl.judges import each
from perl.runs.run import Run

TEXT = ('tokens', 'positions', 'segments', 'completion')


class Feed:
    """Batches as functions of the seed and the iteration."""

    def __init__(self, run: Run, stage: str):
        self.run, self.config = run, run.config[stage]
        limits = run.config.lengths
        self.texts = run.dataset.prompts['train']
        self.encoded = run.encoded(self.texts, f'{stage}/train')
        self.shapes = batching.shapes(self.encoded, run.prompt_multiple)
        self.packed = None
        if self.config.ptx_coefficient:
            width = limits.prompt + limits.response
            documents = run.dataset.text['train']
            self.packed = batching.pack(documents, run.tokenizer, width)

    def prompts(self, at: int) -> dict[str, Any]:
        """Left-padded prompts of iteration `at`, on the mesh."""
        chosen = [self.encoded.prompts[i] for i in self.rows(at)]
        batch = batching.left(chosen, self.run.tokenizer.pad, self.run.prompt_multiple)
        return sharding.shard_batch(batch, self.run.mesh)

    def rows(self, at: int) -> np.ndarray:
        """Which prompts: each as often in a row as it gets responses."""
        samples, seed = self.config.samples, self.run.config.seed
        size = self.config.batch_size // samples
        rows = order(len(self.texts), size, seed, at, self.shapes)
        return np.repeat(rows, samples)

    def text(self, update: int, share: float) -> dict[str, Any]:
        """Packed rows of text for an update, for PPO-ptx.

        Args:
            update: its number in the stage.
            share: what a token's mean loss is to weigh: the coefficient, times what
                the update divides its sum by.
        """
        rows = order(
            len(self.packed['tokens']),
            self.config.ptx_batch_size,
            self.run.config.seed,
            update,
        )
        text = {name: self.packed[name][rows] for name in TEXT}
        weight = share / text['completion'].sum()
        text['weight'] = np.full(len(rows), weight, np.float32)
        return sharding.shard_batch(text, self.run.mesh)

    def gold(self, sampled: Any, at: int) -> dict[str, float]:
        """The mean gold reward of what was sampled, where there is one."""
        gold = self.run.dataset.gold
        if gold is None:
            return {}
        return {'gold': each(gold)(*self.texts_of(sampled, at)).mean()}

    def texts_of(self, sampled: Any, at: int) -> tuple[list[str], list[str]]:
        """Prompts and responses of an iteration as texts."""
        prompts = [self.texts[i] for i in self.rows(at)]
        return prompts, decode(self.run.tokenizer, sampled, prompts)
