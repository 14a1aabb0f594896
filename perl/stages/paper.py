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
from perl.weights import abstract


def source_of(arch: Architecture, config: ConfigDict, stage: str, base: Any) -> Network:
    """What a policy starts from, on paper: its base, and the adapter of SFT, or of a
    folder, which is like its own, if any."""
    start, delta = config[stage].start, {}
    if start != 'base':
        tuning = configs.tuning(config['sft' if start == 'sft' else stage].tuning)
        said = {} if tuning.replaces_base else tuning.declare(parameters(arch))
        delta = abstract(said)
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

    deltas = [abstract({**tuning.declare(leaves), **head}) for tuning in tunings]
    shapes = jax.eval_shape(assemble, abstract(base, arch.base_dtype), deltas, gate)
    # the declared base itself, so that a mesh places it as it does the model's
    stacks = tuple((base if own else {}, delta) for own, delta in shapes.stacks)
    return dataclasses.replace(shapes, stacks=stacks)
