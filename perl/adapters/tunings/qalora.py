"""QA-LoRA: factors that merge exactly into a base of four-bit whole numbers."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.targets import ALL_LINEAR
from perl.adapters.tunings.lora import LoraTuning
from perl.weights import Adapter, Leaf, Pooled
from perl.weights.affine import Int4


@dataclasses.dataclass(frozen=True)
class QaLora(LoraTuning):
    """Factors on group sums of the input, over a base in INT4 (arXiv 2309.14717)."""

    targets: tuple[str, ...] = ALL_LINEAR
    name: str = 'qalora'
    adapter: ClassVar[type[Adapter]] = Pooled
    quantization: ClassVar[str] = Int4.name

    def beside(self, leaf: Leaf, rank: int) -> Pooled:
        """The adapter of one kernel with a `Leaf` in the place of each array."""
        lora, first = super().beside(leaf, rank), int(leaf.layered)
        inputs = leaf.shape[first : first + leaf.inputs]
        groups = -(-math.prod(inputs) // Int4.group)
        a = Leaf(
            (*leaf.shape[:first], groups, rank),
            (*leaf.axes[:first], leaf.axes[first], 'rank'),
            1,
            None,
        )
        return Pooled(a, lora.b, lora.scale, self.dropout, Int4.group, inputs)

    def fresh(self, key: jax.Array, leaf: Leaf, rank: int, kernel: Any) -> Pooled:
        """`A` uniform with variance `2 / (groups + rank)` (Glorot), `B` zero: float32
        `a [G, R]`, `b [R, *outputs]`."""
        del kernel
        said = self.beside(leaf, rank)
        bound = math.sqrt(6 / sum(said.a.shape[-2:]))
        a = jax.random.uniform(key, said.a.shape, jnp.float32, -bound, bound)
        return dataclasses.replace(said, a=a, b=jnp.zeros(said.b.shape, jnp.float32))
