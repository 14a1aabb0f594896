"""What a policy stage reads in each iteration: prompts, text, and the gold rewards."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from perl import sharding
from perl.data import batching
from perl.data.examples import Examples
from perl.data.ordering import order, shapes
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.judges import Reward
from perl.rollout.responses import Responses, decode

TEXT = ('tokens', 'positions', 'segments', 'completion')


@dataclasses.dataclass(frozen=True)
class Feed:
    """Batches as functions of the seed and the iteration.

    Attributes:
        texts: n prompts.
        prompts: the same in token ids.
        tokenizer: of both.
        section: the config of the stage.
        seed: of the order.
        multiple: the padded length of a batch of prompts is a multiple of it.
        mesh: of devices.
        packed: rows of text in token ids, `[N, T]` each, for PPO-ptx; None without.
        gold: the exact reward, where the dataset has one.
    """

    texts: list[str]
    prompts: Examples
    tokenizer: Tokenizer
    section: ConfigDict
    seed: int
    multiple: int
    mesh: jax.sharding.Mesh
    packed: dict[str, np.ndarray] | None = None
    gold: Reward | None = None

    def batch(self, at: int) -> dict[str, jax.Array]:
        """Prompts of iteration `at` on the mesh: `tokens [B, P]`, padded on the left,
        and `lengths [B]`, both int32."""
        prompts = [self.prompts.prompts[i] for i in self.rows(at)]
        batch = batching.left(prompts, self.tokenizer.pad, self.multiple)
        return sharding.shard_batch(batch, self.mesh)

    def rows(self, at: int) -> np.ndarray:
        """Which prompts `[B]`: each as often in a row as it gets responses."""
        samples = self.section.samples
        size = self.section.batch_size // samples
        rows = order(len(self.texts), size, self.seed, at, self._shapes)
        return np.repeat(rows, samples)

    @functools.cached_property
    def _shapes(self) -> np.ndarray:
        """The length of each prompt; those of a batch should be alike."""
        return shapes(self.prompts)

    def text(self, update: int, share: float) -> dict[str, Any]:
        """Packed rows of text for an update, for PPO-ptx.

        Args:
            update: its number in the stage.
            share: the weight of a token's mean loss: the coefficient, times what the
                update divides its sum by.
        """
        size = self.section.ptx_batch_size
        rows = order(len(self.packed['tokens']), size, self.seed, update)
        text = {name: self.packed[name][rows] for name in TEXT}
        weight = share / text['completion'].sum()
        text['weight'] = np.full(len(rows), weight, np.float32)
        return sharding.shard_batch(text, self.mesh)

    def gold_reward(self, responses: Responses, at: int) -> dict[str, float]:
        """The mean gold reward of the responses, where there is one."""
        if self.gold is None:
            return {}
        return {'gold': self.gold(*self.texts_of(responses, at)).mean()}

    def texts_of(self, responses: Responses, at: int) -> tuple[list[str], list[str]]:
        """Prompts and responses of an iteration as texts."""
        prompts = [self.texts[i] for i in self.rows(at)]
        return prompts, decode(self.tokenizer, responses, prompts)
