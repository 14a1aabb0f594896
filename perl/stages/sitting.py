"""The values that the training of a stage needs of its run."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from perl import sharding
from perl.runs.inputs import inputs
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import placement
from perl.system.interrupt import Interrupt
from perl.training.loop import Loop


@dataclasses.dataclass(frozen=True)
class Sitting:
    """One process that trains a stage, from its first step or from a checkpoint.

    Attributes:
        folder: of the stage.
        section: its settings.
        mesh: of devices.
        leaves: the declared parameters of the decoder.
        tokenizer: its fingerprint.
        place: puts a role on the mesh.
        inputs: what the stage computes from, see `perl.runs.inputs`.
        begin: called before the first step, when nothing was refused.
        interrupt: asked after each step whether to stop.
        tensorboard: also write event files.
    """

    folder: pathlib.Path
    section: ConfigDict
    mesh: jax.sharding.Mesh
    leaves: Any
    tokenizer: str
    place: Callable[[Role], Role]
    inputs: Mapping[str, Any]
    begin: Callable[[], None]
    interrupt: Interrupt
    tensorboard: bool

    def loop(self, **options: Any) -> Loop:
        """The loop of the stage.

        Args:
            **options: the fields of `Loop` that the kind of stage adds.
        """
        return Loop(
            self.folder,
            steps=self.section.steps,
            save_every=self.section.save_every,
            eval_every=self.section.eval_every,
            interrupt=self.interrupt,
            inputs=self.inputs,
            begin=self.begin,
            tensorboard=self.tensorboard,
            **options,
        )


def sitting(run: Run, stage: str) -> Sitting:
    """What the training of a stage needs of its run."""
    return Sitting(
        folder=run.workdir / stage,
        section=run.config[stage],
        mesh=run.mesh,
        leaves=run.leaves,
        tokenizer=run.tokenizer.fingerprint,
        place=run.place,
        inputs=inputs(run, stage),
        begin=run.record_sitting,
        interrupt=run.interrupt,
        tensorboard=run.config.tensorboard,
    )


def place_state(state: Any, mesh: jax.sharding.Mesh) -> Any:
    """Leaves that are not on the mesh yet (counters) on every device of it."""
    everywhere = sharding.replicated(mesh)
    return jax.tree.map(
        lambda x: x if len(x.devices()) == mesh.size else placement.put(x, everywhere),
        state,
    )
