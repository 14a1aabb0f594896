"""LoRA on the kernels that target rules choose."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters import targets as rules
from perl.adapters.targets import ATTENTION
from perl.adapters.tunings.base import Tuning, matrix_count, parameter_count
from perl.weights import Leaf, Lora, unflatten


@dataclasses.dataclass(frozen=True)
class LoraTuning(Tuning):
    """LoRA (arXiv 2106.09685); `rank_stabilised`: rsLoRA (arXiv 2312.03732).

    Attributes:
        rank: of the factors.
        alpha: the product is scaled by `alpha / rank`, or `alpha / sqrt(rank)`.
        rank_stabilised: which of the two.
        dropout: rate on the adapter's input while training.
        targets: see `perl.adapters.targets.choose`.
    """

    rank: int = 8
    alpha: float = 8.0
    rank_stabilised: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ATTENTION
    name: str = 'lora'
    adapter: ClassVar[type[Lora]] = Lora

    def scale(self, rank: int) -> float:
        """What multiplies the product of factors of this rank."""
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def alike(self, other: Tuning) -> bool:
        """Whether they differ in dropout alone."""
        same = isinstance(other, LoraTuning)
        return same and dataclasses.replace(self, dropout=other.dropout) == other

    @property
    def label(self) -> str:
        """`lora r=8`."""
        return f'lora r={self.rank}'

    def chosen(self, leaves: Any) -> dict[str, tuple[Leaf, int]]:
        """The kernels that get factors and the rank of each, by path."""
        return rules.choose(self.targets, self.rank, leaves)

    def declare(self, leaves: Any) -> Any:
        """Factors with a `Leaf` in the place of each array."""
        return unflatten(
            {
                path: Lora(*factors(leaf, rank), self.scale(rank), self.dropout)
                for path, (leaf, rank) in self.chosen(leaves).items()
            }
        )

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """Factors whose product is zero: `A` uniform with variance `1 / (3 inputs)`,
        `B` zero, as in PEFT; `a [*inputs, R]` and `b [R, *outputs]` of each kernel."""
        del base
        flat = {}
        for i, (path, (leaf, rank)) in enumerate(sorted(self.chosen(leaves).items())):
            a, b = factors(leaf, rank)
            inputs = leaf.shape[leaf.layered : leaf.layered + leaf.inputs]
            bound = 1 / math.sqrt(math.prod(inputs))
            flat[path] = Lora(
                jax.random.uniform(
                    jax.random.fold_in(key, i), a.shape, jnp.float32, -bound, bound
                ),
                jnp.zeros(b.shape, jnp.float32),
                self.scale(rank),
                self.dropout,
            )
        return unflatten(flat)

    def coverage(self, leaves: Any) -> str:
        """One line for a person: which matrices are trained and what share that is."""
        chosen, total = self.chosen(leaves), parameter_count(leaves)
        trainable = parameter_count(self.declare(leaves))
        kinds = ', '.join(path.removeprefix('layers/') for path in chosen)
        ranks = '/'.join(str(r) for r in sorted({rank for _, rank in chosen.values()}))
        return (
            f'lora r={ranks}: {len(chosen)} kinds ({kinds}), '
            f'{matrix_count(chosen, leaves)} matrices, '
            f'{trainable:,} of {total:,} parameters ({trainable / total:.2%})'
        )


def factors(leaf: Leaf, rank: int) -> tuple[Leaf, Leaf]:
    """The shapes and logical axes of the two factors of a kernel."""
    cut = leaf.layered + leaf.inputs
    lead, lead_axes = leaf.shape[: leaf.layered], leaf.axes[: leaf.layered]
    a = Leaf((*leaf.shape[:cut], rank), (*leaf.axes[:cut], 'rank'), 1, None)
    b = Leaf(
        (*lead, rank, *leaf.shape[cut:]), (*lead_axes, 'rank', *leaf.axes[cut:]), 1, 0.0
    )
    return a, b
