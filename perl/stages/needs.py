"""What the programs of a stage need, by the compiler, without an array: the memory of a
device, and what devices send each other."""

import dataclasses
import re
from collections.abc import Iterator

import jax
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh
from ml_collections import ConfigDict

from perl.models.architecture import Architecture
from perl.stages.table import STAGES
from perl.system.collectives import Collective, collectives

_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
# what the compiler for TPUs says instead of a program that does not fit
_EXHAUSTED = re.compile(r'Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm')


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes on one device while a program of a stage runs.

    The first three stay through the stage, whichever of them a program reads; an array
    that several roles share counts once.

    Attributes:
        stage, program: their names.
        frozen: bases, and the adapters and heads that nobody trains.
        trained: adapters and heads, or all weights where they are tuned in full.
        optimizer: moments.
        cache: keys and values of a rollout.
        temporary: activations, gradients, logits and whatever else the program holds,
            with what it returns.
        total: of all these.
        collectives: of one run of the program; none are told of a program that does
            not fit.
    """

    stage: str
    program: str
    frozen: int
    trained: int
    optimizer: int
    cache: int
    temporary: int
    total: int
    collectives: tuple[Collective, ...] = ()


def needs(
    arch: Architecture, config: ConfigDict, stage: str, mesh: Mesh
) -> Iterator[Need]:
    """The programs of a stage, compiled one after the other.

    Args:
        arch: the decoder.
        config: of the experiment.
        stage: its name in the config; one that takes no steps has no programs.
        mesh: of devices that need not be here.
    """
    how = STAGES[config[stage].kind]
    plan = how.plan(arch, config, stage)
    if plan is None:
        return
    held = plan.bytes_per_device(mesh)
    stays = held['frozen'], held['trainable'], held['optimizer']
    with jax.set_mesh(mesh):
        programs = how.programs(plan, arch, config, stage, mesh)
        for name, program in programs.items():
            beside, text = _compiled(program.lowered, sum(stays))
            rest = max(0, beside - program.cache)
            yield Need(
                *(stage, name, *stays, program.cache, rest),
                total=sum(stays) + program.cache + rest,
                collectives=tuple(collectives(text, mesh.shape)),
            )


def _compiled(lowered, stays) -> tuple[int, str]:
    """Bytes beside the `stays` that are there through the stage (temporaries, and the
    outputs that do not take the place of an argument), and the program's text, which is
    empty where the program does not fit."""
    try:
        program = lowered.compile()
    except JaxRuntimeError as error:
        found = _EXHAUSTED.search(str(error))
        if not found:
            raise
        return max(0, int(float(found[1]) * _UNITS[found[2]]) - stays), ''
    memory = program.memory_analysis()
    outputs = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.temp_size_in_bytes + outputs, program.as_text()
