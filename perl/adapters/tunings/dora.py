"""DoRA on the kernels that target rules choose."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.tunings.lora import LoraTuning
from perl.weights import Adapter, Dora, Leaf
from perl.weights.dora import column_squares


@dataclasses.dataclass(frozen=True)
class DoraTuning(LoraTuning):
    """LoRA with a trained norm of the weights of each output (arXiv 2402.09353)."""

    name: str = 'dora'
    adapter: ClassVar[type[Adapter]] = Dora

    def beside(self, leaf: Leaf, rank: int) -> Dora:
        """The adapter of one kernel with a `Leaf` in the place of each array."""
        lora, first = super().beside(leaf, rank), int(leaf.layered)
        cut = first + leaf.inputs
        shape = (*leaf.shape[:first], *leaf.shape[cut:])
        axes = (*leaf.axes[:first], *leaf.axes[cut:])
        magnitude = Leaf(shape, axes, 0, None)
        return Dora(lora.a, lora.b, magnitude, lora.scale, lora.dropout)

    def fresh(self, key: jax.Array, leaf: Leaf, rank: int, kernel: Any) -> Dora:
        """LoRA's factors, and the norms of the kernel, `[*outputs]` float32."""
        lora = super().fresh(key, leaf, rank, kernel)

        def norms(w):
            return jnp.sqrt(column_squares(w, leaf.inputs))

        magnitude = jax.lax.map(norms, kernel) if leaf.layered else norms(kernel)
        return Dora(lora.a, lora.b, magnitude, lora.scale, lora.dropout)
