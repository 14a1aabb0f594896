"""Reward models that score together, in one forward pass over their shared base.

The members' adapters are stacked and mapped with vmap, the base is not. So each frozen
kernel is read once for all members. Members with other shapes, such as a fully tuned
model, form a separate stack. A stack of one member is not mapped. A mixture (`mole`) is
one network; its blocks mix the members' adapters.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.adapters.tree import LAYERS
from perl.judges import mixture
from perl.models import decoder, heads
from perl.models.architecture import Architecture
from perl.models.heads import HEAD
from perl.system.errors import UserError


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['stacks', 'shifts', 'scales', 'gate', 'shift', 'scale'],
    meta_fields=['sizes', 'order', 'combine', 'deviations'],
)
@dataclasses.dataclass(frozen=True)
class Panel:
    """One or several reward models, as a pytree for compiled functions.

    Attributes:
        stacks: `(base, delta)` of the members of one shape; the adapters of several
            members are stacked by `tree.stack`.
        shifts, scales: float32 `[M]`; each member's reward is `(raw - shift) / scale`.
        gate: from `mixture.fresh`, or None.
        shift, scale: float32 scalars; normalise the combined reward in the same way.
        sizes: the number of members of each stack.
        order: `order[i]` is the index of member i in the concatenated stacks.
        combine: `mean`, `min`, `mean_std` (mean minus `deviations` standard
            deviations), `gate` (it mixes rewards) or `mole` (gates mix adapters).
        deviations: for `mean_std`.
    """

    stacks: tuple[tuple[Any, Any], ...]
    shifts: jax.Array
    scales: jax.Array
    gate: Any
    shift: jax.Array
    scale: jax.Array
    sizes: tuple[int, ...]
    order: tuple[int, ...]
    combine: str = 'mean'
    deviations: float = 1.0


def build(
    members: Sequence[Any],
    combine: str = 'mean',
    deviations: float = 1.0,
    gate: Any = None,
    shift: float = 0.0,
    scale: float = 1.0,
) -> Panel:
    """A panel of roles (`base`, `base_id`, `delta` with a head, `shift`, `scale`).

    Raises:
        UserError: there are no members, their bases differ, the gate is missing, or
            there is a gate that `combine` does not use.
    """
    if not members:
        raise UserError('panel: it has no members; name one or more reward models')
    bases = {member.base_id for member in members}
    if len(bases) > 1:
        raise UserError(
            f'panel: its members have different bases ({", ".join(sorted(bases))}); '
            'train them on the same base'
        )
    if (combine in mixture.GATED) != (gate is not None):
        raise UserError(
            f'panel: a gate is needed to combine by {" or ".join(mixture.GATED)}, and '
            'only then'
        )
    by_shape: dict[Any, list[int]] = {}
    for i, member in enumerate(members):
        by_shape.setdefault(_shape(member), []).append(i)
    if combine == 'mole':
        _check_mixed(members, by_shape)
    joined = [i for places in by_shape.values() for i in places]
    return Panel(
        stacks=tuple(_stack([members[i] for i in ids]) for ids in by_shape.values()),
        shifts=jnp.array([member.shift for member in members], jnp.float32),
        scales=jnp.array([member.scale for member in members], jnp.float32),
        gate=gate,
        shift=jnp.float32(shift),
        scale=jnp.float32(scale),
        sizes=tuple(map(len, by_shape.values())),
        order=tuple(joined.index(i) for i in range(len(members))),
        combine=combine,
        deviations=deviations,
    )


def rewards(arch: Architecture, panel: Panel, batch: dict[str, Any]) -> jax.Array:
    """The panel's reward at the last token of each completion, float32 `[N, E]`.

    The batch has tokens, positions, segments `[N, T]` and ends `[N, E]`, as in
    `heads.rewards`.
    """
    if panel.gate is None:
        rewards = combine(panel, member_rewards(arch, panel, batch)[0])
    else:
        rewards, _ = gated(arch, panel, batch)
    return (rewards - panel.shift) / panel.scale


def gated(
    arch: Architecture, panel: Panel, batch: dict[str, Any]
) -> tuple[jax.Array, jax.Array]:
    """The reward of a panel with a gate, before the panel's shift and scale.

    Returns:
        Rewards float32 `[N, E]`, and each member's mean share `[M]`: for `gate` the
        mean over completions, for `mole` over the tokens of all blocks.
    """
    if panel.combine == 'gate':
        scores, states = member_rewards(arch, panel, batch)
        shares = mixture.shares(panel.gate, states)
        return jnp.sum(shares * scores, axis=0), jnp.mean(shares, axis=(1, 2))
    rows = [batch[name] for name in ('tokens', 'positions', 'segments', 'ends')]
    ((base, delta),) = panel.stacks
    states, shares = mixture.mixed(arch, base, delta, panel.gate, *rows)
    raw = jax.vmap(lambda head: heads.scalar({HEAD: head}, states))(delta[HEAD])
    tokens = (batch['segments'] >= 0).astype(shares.dtype)
    total = jnp.sum(shares * tokens[None, None], axis=(0, 2, 3))
    mean = total / (len(shares) * jnp.sum(tokens))
    return jnp.mean(_normalised(panel, raw), axis=0), mean


def member_rewards(
    arch: Architecture, panel: Panel, batch: dict[str, Any]
) -> tuple[jax.Array, jax.Array]:
    """The normalised rewards of each member, float32 `[M, N, E]`, and the final states
    `[M, N, E, D]` from which its head computes them."""
    rows = [batch[name] for name in ('tokens', 'positions', 'segments', 'ends')]

    def member(base, delta):
        params = tree.bind(base, delta)
        states = decoder.hidden(arch, params, *rows)
        return heads.scalar(params, states), states

    parts = []
    for (base, delta), size in zip(panel.stacks, panel.sizes, strict=True):
        if size == 1:
            raw, states = member(base, delta)
            parts.append((raw[None], states[None]))
        else:
            axes = tree.stacked_axes(delta)
            parts.append(jax.vmap(member, in_axes=(None, axes))(base, delta))
    raw, states = (jnp.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if panel.order != tuple(range(len(panel.order))):
        raw, states = raw[jnp.array(panel.order)], states[jnp.array(panel.order)]
    return _normalised(panel, raw), states


def combine(panel: Panel, scores: jax.Array) -> jax.Array:
    """Combines the members' rewards `[M, N, E]` into one `[N, E]`, without a gate."""
    if panel.combine == 'min':
        return jnp.min(scores, axis=0)
    mean = jnp.mean(scores, axis=0)
    if panel.combine == 'mean_std':
        return mean - panel.deviations * jnp.std(scores, axis=0)
    return mean


def _normalised(panel, raw):
    shifts, scales = (x[:, None, None] for x in (panel.shifts, panel.scales))
    return (raw - shifts) / scales


def _check_mixed(members, by_shape):
    outside = {name for member in members for name in member.delta} - {LAYERS, HEAD}
    if len(by_shape) > 1 or len(members) < 2 or outside:
        raise UserError(
            'panel: mole mixes two or more adapters of the same kernels, all of them '
            'in layers; train its members by LoRA with the same targets'
        )


def _shape(member):
    leaves, structure = jax.tree.flatten(tree.kinds(member.delta))
    return structure, tuple(leaves)


def _stack(members):
    deltas = [member.delta for member in members]
    return members[0].base, deltas[0] if len(deltas) == 1 else tree.stack(deltas)
