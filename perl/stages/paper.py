"""Reward models on paper: what a stage that scores with them holds."""

import dataclasses
import functools
from typing import Any

import jax
from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters.network import Network
from perl.adapters.tunings import Tuning
from perl.config import lineage
from perl.judges import mixture, panel
from perl.judges.panel import Panel
from perl.models import heads
from perl.models.architecture import Architecture, parameters
from perl.runs.roles import Role
from perl.weights import abstract, is_leaf


def source_of(arch: Architecture, config: ConfigDict, stage: str, base: Any) -> Network:
    """What a policy starts from, on paper: its base, and the adapter of SFT, or of a
    folder, which is like its own, if any."""
    start, delta = config[stage].start, {}
    if start != 'base':
        tuning = configs.tuning(config['sft' if start == 'sft' else stage].tuning)
        said = {} if tuning.replaces_base else tuning.declare(parameters(arch))
        delta = _trained(said)
    return Network(base, delta)


def panel_of(arch: Architecture, config: ConfigDict, name: str, base: Any) -> Panel:
    """The reward models that a stage of a config stands for, on paper.

    An average counts with the rank of the first stage that it is made of. What is not a
    stage (an adapter folder) counts as one LoRA adapter of the default rank.

    Args:
        arch: the decoder.
        config: of the experiment.
        name: of the stage, or of something else that rewards.
        base: the declared base, which stands in the panel as it is.
    """
    if name not in configs.known_stages(config):
        return build(arch, 'mean', [configs.tuning(configs.tuning_config())], base)
    section = config[name]
    combine = section.get('combine', 'mean')
    names = section.of if 'combine' in section else (name,)
    tunings = [configs.tuning(config[lineage.origin(config, x)].tuning) for x in names]
    return build(arch, combine, tunings, base)


def build(arch: Architecture, combine: str, tunings: list[Tuning], base: Any) -> Panel:
    """A panel of reward models that are tuned so, with the declared base in the place
    of its arrays."""
    head, leaves = {heads.HEAD: heads.head_leaves(arch.width)}, parameters(arch)
    gate = None
    if combine in mixture.GATED:
        fresh = functools.partial(mixture.fresh, arch, combine, len(tunings))
        gate = jax.eval_shape(fresh)

    def assemble(shared: Any, deltas: Any, gate: Any) -> Panel:
        roles = [
            Role({} if tuning.replaces_base else shared, '', delta, tuning)
            for tuning, delta in zip(tunings, deltas, strict=True)
        ]
        return panel.build(roles, combine, gate=gate)

    said = [{**tuning.declare(leaves), **head} for tuning in tunings]
    base_shapes = abstract(base, arch.base_dtype)
    shapes = jax.eval_shape(assemble, base_shapes, list(map(abstract, said)), gate)
    members = [shapes.order.index(i) for i in range(len(said))]
    firsts = [members[sum(shapes.sizes[:i])] for i in range(len(shapes.sizes))]
    # the declared parameters themselves, so that a mesh places them as it does arrays
    stacks = tuple(
        (base if own else {}, _stacked(delta, _trained(said[first])))
        for (own, delta), first in zip(shapes.stacks, firsts, strict=True)
    )
    return dataclasses.replace(shapes, stacks=stacks)


def _trained(said: Any) -> Any:
    """Declared parameters that were trained, in float32, and are read alone now."""
    return jax.tree.map(lambda x: x._replace(dtype='float32'), said, is_leaf=is_leaf)


def _stacked(shapes: Any, said: Any) -> Any:
    """The declared parameters of a stack of adapters of these shapes, from those of its
    first member; an axis of members is not divided."""
    leaves, structure = jax.tree.flatten(shapes)
    parts = []
    for x, leaf in zip(leaves, jax.tree.leaves(said, is_leaf=is_leaf), strict=True):
        at, more = int(leaf.layered), (None,) * (x.ndim - len(leaf.shape))
        axes = (*leaf.axes[:at], *more, *leaf.axes[at:])
        parts.append(leaf._replace(shape=x.shape, axes=axes))
    return structure.unflatten(parts)
