"""What is trained: everything, or LoRA factors on chosen kernels.

A tuning says how a base becomes a trainable delta; `bind` and `merge` of
`perl.adapters.tree` serve every tuning alike, so that one step function trains all.
"""

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters.tree import LAYERS
from perl.system.errors import UserError
from perl.weights import Leaf, Lora

ATTENTION = ('layers/attention/(q|k|v|o)',)  # as in PERL: every attention projection


@dataclasses.dataclass(frozen=True)
class Full:
    """Every parameter is trained, from a copy of the base."""

    name: str = 'full'


@dataclasses.dataclass(frozen=True)
class LoraTuning:
    """LoRA (arXiv 2106.09685); `rank_stabilised`: rsLoRA (arXiv 2312.03732).

    Attributes:
        rank: of the factors.
        alpha: the product is scaled by `alpha / rank`, or `alpha / sqrt(rank)`.
        rank_stabilised: which of the two.
        dropout: rate on the adapter's input while training.
        targets: ordered rules `pattern` or `pattern:rank`, matched against the whole
            path of a kernel; the first that matches wins, rank 0 leaves it alone.
    """

    rank: int = 8
    alpha: float = 8.0
    rank_stabilised: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ATTENTION
    name: str = 'lora'

    def scale(self, rank: int) -> float:
        """What the product of factors of this rank is multiplied with."""
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


Tuning = Full | LoraTuning


def init(key: jax.Array, tuning: Tuning, base: Any, leaves: Any) -> Any:
    """A fresh delta: for `full` a float32 copy of the base, for `lora` factors whose
    product is zero (`A` uniform with variance `1 / (3 inputs)`, `B` zero, as PEFT).

    Args:
        key: a random key, consumed.
        tuning: what is trained.
        base: the parameters (only `full` reads them).
        leaves: the model's tree of `Leaf`.
    """
    if isinstance(tuning, Full):
        return jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), base)
    flat = {}
    for i, (path, (leaf, rank)) in enumerate(sorted(chosen(tuning, leaves).items())):
        a, b = factors(path, leaf, rank)
        bound = 1 / math.sqrt(math.prod(_inputs(path, leaf)))
        k = jax.random.fold_in(key, i)
        flat[path] = Lora(
            jax.random.uniform(k, a.shape, jnp.float32, -bound, bound),
            jnp.zeros(b.shape, jnp.float32),
            tuning.scale(rank),
            tuning.dropout,
        )
    return unflatten(flat)


def factors(path: str, leaf: Leaf, rank: int) -> tuple[Leaf, Leaf]:
    """The shapes and logical axes of the two factors of a kernel."""
    stacked = int(path.startswith(LAYERS))
    cut = stacked + leaf.inputs
    lead, lead_axes = leaf.shape[:stacked], leaf.axes[:stacked]
    a = Leaf((*leaf.shape[:cut], rank), (*leaf.axes[:cut], 'rank'), 1, None)
    b = Leaf(
        (*lead, rank, *leaf.shape[cut:]), (*lead_axes, 'rank', *leaf.axes[cut:]), 1, 0.0
    )
    return a, b


def declare(tuning: Tuning, leaves: Any) -> Any:
    """The tree of `Leaf` of a delta: what `init` makes, on paper."""
    if isinstance(tuning, Full):
        return leaves
    flat = {}
    for path, (leaf, rank) in chosen(tuning, leaves).items():
        a, b = factors(path, leaf, rank)
        flat[path] = Lora(a, b, tuning.scale(rank), tuning.dropout)
    return unflatten(flat)


def chosen(tuning: LoraTuning, leaves: Any) -> dict[str, tuple[Leaf, int]]:
    """The kernels that get an adapter and the rank of each, by path.

    Raises:
        UserError: a rule is no pattern, matches nothing, or something that is no
            kernel; or all of them leave nothing to train.
    """
    paths = flatten(leaves)
    rules = [_rule(t, tuning.rank) for t in tuning.targets]
    picked, used = {}, set()
    for path, leaf in paths.items():
        for i, (pattern, rank) in enumerate(rules):
            if not re.fullmatch(pattern, path):
                continue
            used.add(i)
            if rank and not leaf.inputs:
                raise UserError(
                    f'tuning.targets: {pattern!r} matches {path}, which is no kernel; '
                    'narrow the rule or give it rank 0'
                )
            if rank:
                picked[path] = (leaf, rank)
            break
    for i, (pattern, _) in enumerate(rules):
        if i not in used:
            kernels = ', '.join(p for p, leaf in paths.items() if leaf.inputs)
            raise UserError(
                f'tuning.targets: {pattern!r} matches nothing; '
                f'the kernels are {kernels}'
            )
    if not picked:
        raise UserError('tuning.targets: no kernel is chosen, so nothing would learn')
    return picked


def coverage(tuning: Tuning, leaves: Any) -> str:
    """One line for a person: which matrices are trained and what share that is."""
    flat = flatten(leaves)
    total = sum(math.prod(leaf.shape) for leaf in flat.values())
    if isinstance(tuning, Full):
        return f'full: all {total:,} parameters'
    picked = chosen(tuning, leaves)
    count = trainable = 0
    for path, (leaf, rank) in picked.items():
        count += leaf.shape[0] if path.startswith(LAYERS) else 1
        trainable += sum(math.prod(f.shape) for f in factors(path, leaf, rank))
    kinds = ', '.join(p.removeprefix('layers/') for p in picked)
    ranks = '/'.join(str(r) for r in sorted({rank for _, rank in picked.values()}))
    return (
        f'lora r={ranks}: {len(picked)} kinds ({kinds}), {count} matrices, '
        f'{trainable:,} of {total:,} parameters ({trainable / total:.2%})'
    )


def label(tuning: Tuning | None) -> str:
    """A short name for tables: `full` or `lora r=8`; `none` where nothing is tuned."""
    if tuning is None:
        return 'none'
    return 'full' if isinstance(tuning, Full) else f'lora r={tuning.rank}'


def flatten(tree: Any, prefix: str = '') -> dict[str, Any]:
    """A nested dict as `{'a/b': leaf}`."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat = {}
    for name, part in tree.items():
        flat |= flatten(part, f'{prefix}/{name}' if prefix else name)
    return flat


def unflatten(flat: dict[str, Any]) -> Any:
    """The inverse of `flatten`."""
    tree = {}
    for path, leaf in flat.items():
        *parents, name = path.split('/')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def _rule(text: str, default: int) -> tuple[str, int]:
    pattern, colon, rank = text.rpartition(':')
    if not (colon and rank.isdigit()):
        pattern, rank = text, default
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(
            f'tuning.targets: {pattern!r} is no regular expression ({error})'
        ) from None
    return pattern, int(rank)


def _inputs(path, leaf):
    stacked = int(path.startswith(LAYERS))
    return leaf.shape[stacked : stacked + leaf.inputs]
