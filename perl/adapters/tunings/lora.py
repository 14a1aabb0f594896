"""LoRA on the kernels that target rules choose."""

import dataclasses
import math
import re
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters import targets as rules
from perl.adapters import tree
from perl.adapters.targets import ATTENTION
from perl.adapters.tunings.base import (
    Tuning,
    matrix_count,
    parameter_count,
    trained_copy,
)
from perl.weights import Adapter, Leaf, Lora, flatten, unflatten


@dataclasses.dataclass(frozen=True)
class LoraTuning(Tuning):
    """LoRA (arXiv 2106.09685); `rank_stabilised`: rsLoRA (arXiv 2312.03732).

    Attributes:
        rank: of the factors.
        alpha: the product is scaled by `alpha / rank`, or `alpha / sqrt(rank)`.
        rank_stabilised: which of the two.
        dropout: rate on the adapter's input while training.
        targets: see `perl.adapters.targets.choose`.
        b_rate: multiplies the learning rate of `B`; LoRA+ (arXiv 2402.12354) has 16.
        modules_to_save: weights that are trained in full beside the factors, such as
            the embedding; see `perl.adapters.targets.choose_whole`.
    """

    rank: int = 8
    alpha: float = 8.0
    rank_stabilised: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ATTENTION
    name: str = 'lora'
    b_rate: float = 1.0
    modules_to_save: tuple[str, ...] = ()
    adapter: ClassVar[type[Adapter]] = Lora

    def scale(self, rank: int) -> float:
        """What multiplies the product of factors of this rank."""
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def alike(self, other: Tuning) -> bool:
        """Whether they train the same kind of leaf, and differ in name, dropout and
        learning rate alone."""
        if self.adapter is not other.adapter or not isinstance(other, LoraTuning):
            return False
        free = {'name': '', 'dropout': 0.0, 'b_rate': 1.0}
        one, two = (dataclasses.asdict(x) | free for x in (self, other))
        return one == two

    @property
    def label(self) -> str:
        """`lora r=8`."""
        return f'{super().label} r={self.rank}'

    def chosen(self, leaves: Any) -> dict[str, tuple[Leaf, int]]:
        """The kernels that get factors and the rank of each, by path."""
        return rules.choose(self.targets, self.rank, leaves, self.whole(leaves))

    def whole(self, leaves: Any) -> dict[str, Leaf]:
        """The weights that are trained in full beside the factors, by path."""
        return rules.choose_whole(self.modules_to_save, leaves)

    def declare(self, leaves: Any) -> Any:
        """Factors with a `Leaf` in the place of each array, and the weights that are
        trained in full."""
        factors = {
            path: self.beside(leaf, rank)
            for path, (leaf, rank) in self.chosen(leaves).items()
        }
        return unflatten({**factors, **self.whole(leaves)})

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """Factors whose product is zero: `A` uniform with variance `1 / (3 inputs)`,
        `B` zero, as in PEFT; `a [L, *inputs, R]` and `b [L, R, *outputs]` of each
        kernel, without `L` outside of the layers. Weights that are trained in full
        begin as float32 copies of the base's."""
        kernels, flat = flatten(base or {}), {}
        for i, (path, (leaf, rank)) in enumerate(sorted(self.chosen(leaves).items())):
            own = jax.random.fold_in(key, i)
            flat[path] = self.fresh(own, leaf, rank, kernels.get(path))
        whole = unflatten({path: kernels[path] for path in self.whole(leaves)})
        return unflatten({**flat, **flatten(trained_copy(tree.merge(whole, {})))})

    def beside(self, leaf: Leaf, rank: int) -> Any:
        """The adapter of one kernel with a `Leaf` in the place of each array."""
        a, b = factors(leaf, rank, self.b_rate)
        return Lora(a, b, self.scale(rank), self.dropout)

    def fresh(self, key: jax.Array, leaf: Leaf, rank: int, kernel: Any) -> Any:
        """The adapter of one kernel before the first step, of the shapes that `beside`
        declares: `a [L, *inputs, R]` and `b [L, R, *outputs]`, without `L` outside of
        the layers.

        Args:
            key: a random key, consumed.
            leaf: the kernel's declaration.
            rank: of the factors.
            kernel: the weight itself; LoRA does not read it.
        """
        del kernel
        a, b = factors(leaf, rank)
        inputs = leaf.shape[leaf.layered : leaf.layered + leaf.inputs]
        bound = 1 / math.sqrt(math.prod(inputs))
        return Lora(
            jax.random.uniform(key, a.shape, jnp.float32, -bound, bound),
            jnp.zeros(b.shape, jnp.float32),
            self.scale(rank),
            self.dropout,
        )

    def describing(self, delta: Any) -> tuple[Any, Tuning]:
        """The delta with the scales of a tuning whose rules name every kernel and its
        rank: the scale is 1 at the largest rank, and is taken out of `b` elsewhere."""
        flat = flatten(delta)
        ranks = {
            path: x.a.shape[-1] for path, x in flat.items() if isinstance(x, Adapter)
        }
        if not ranks:
            return delta, self
        largest = max(ranks.values())
        targets = tuple(f'{re.escape(path)}:{rank}' for path, rank in ranks.items())
        settings = {'rank': largest, 'alpha': float(largest), 'targets': targets}
        plain = {'rank_stabilised': False, 'dropout': 0.0, 'b_rate': 1.0}
        kind = dataclasses.replace(self, **settings, **plain)

        def rescaled(path, leaf):
            if path not in ranks:
                return leaf
            leaf, scale = leaf.with_one_scale(), kind.scale(ranks[path])
            return dataclasses.replace(
                leaf, b=leaf.b * (leaf.scale / scale), scale=scale
            )

        return unflatten({path: rescaled(path, x) for path, x in flat.items()}), kind

    def coverage(self, leaves: Any) -> str:
        """One line for a person: which matrices are trained and what share that is."""
        chosen, total = self.chosen(leaves), parameter_count(leaves)
        whole = ', '.join(self.whole(leaves))
        trainable = parameter_count(self.declare(leaves))
        kinds = ', '.join(path.removeprefix('layers/') for path in chosen)
        ranks = '/'.join(str(r) for r in sorted({rank for _, rank in chosen.values()}))
        return (
            f'{super().label} r={ranks}: {len(chosen)} kinds ({kinds}), '
            f'{matrix_count(chosen, leaves)} matrices, '
            f'{f"and in full {whole}; " if whole else ""}'
            f'{trainable:,} of {total:,} parameters ({trainable / total:.2%})'
        )


def factors(leaf: Leaf, rank: int, b_rate: float = 1.0) -> tuple[Leaf, Leaf]:
    """The shapes and logical axes of the two factors of a kernel."""
    cut = leaf.layered + leaf.inputs
    lead, lead_axes = leaf.shape[: leaf.layered], leaf.axes[: leaf.layered]
    a = Leaf((*leaf.shape[:cut], rank), (*leaf.axes[:cut], 'rank'), 1, None)
    shape, axes = (
        (*lead, rank, *leaf.shape[cut:]),
        (*lead_axes, 'rank', *leaf.axes[cut:]),
    )
    return a, Leaf(shape, axes, 1, 0.0, rate=b_rate)
