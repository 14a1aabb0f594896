"""PiSSA on the kernels that target rules choose."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.tunings.base import Tuning
from perl.adapters.tunings.lora import LoraTuning
from perl.system.errors import UserError
from perl.weights import Adapter, Leaf, Lora, Pissa, dense, flatten


@dataclasses.dataclass(frozen=True)
class PissaTuning(LoraTuning):
    """LoRA whose factors begin as the largest singular vectors of the kernel (arXiv
    2404.02948)."""

    name: str = 'pissa'
    adapter: ClassVar[type[Adapter]] = Pissa

    def beside(self, leaf: Leaf, rank: int) -> Pissa:
        """The adapter of one kernel with a `Leaf` in the place of each array.

        Raises:
            UserError: the kernel has fewer singular vectors than the rank.
        """
        shape = leaf.shape[leaf.layered :]
        most = min(math.prod(shape[: leaf.inputs]), math.prod(shape[leaf.inputs :]))
        if rank > most:
            raise UserError(
                f'tuning.rank: {rank} is more than the {most} singular vectors of a '
                f'kernel of shape {shape}; choose a lower one'
            )
        lora = super().beside(leaf, rank)
        kept = [x._replace(rate=0.0) for x in (lora.a, lora.b)]
        return Pissa(lora.a, lora.b, *kept, lora.scale, lora.dropout)

    def fresh(self, key: jax.Array, leaf: Leaf, rank: int, kernel: Any) -> Pissa:
        """`A = U sqrt(S / s)` and `B = sqrt(S / s) V'` of the kernel's singular value
        decomposition: float32 `a [*inputs, R]`, `b [R, *outputs]`."""
        del key
        scale, shape = self.scale(rank), leaf.shape[leaf.layered :]
        inputs, outputs = shape[: leaf.inputs], shape[leaf.inputs :]

        def split(w):
            matrix = dense(w).astype(jnp.float32).reshape(math.prod(inputs), -1)
            u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
            root = jnp.sqrt(s[:rank] / scale)
            a, b = u[:, :rank] * root[None], root[:, None] * vt[:rank]
            return a.reshape(*inputs, rank), b.reshape(rank, *outputs)

        a, b = jax.lax.map(split, kernel) if leaf.layered else split(kernel)
        # buffers of its own: a step donates those of the factors
        return Pissa(a, b, a.copy(), b.copy(), scale, self.dropout)

    def describing(self, delta: Any) -> tuple[Any, Tuning]:
        """As for LoRA, since an average of PiSSA is a LoRA."""
        if any(isinstance(x, Lora) for x in flatten(delta).values()):
            plain = LoraTuning(modules_to_save=self.modules_to_save)
            return plain.describing(delta)
        return delta, self
