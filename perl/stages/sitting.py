"""What the training of a stage takes from its run: the loop, and where states lie."""

from typing import Any

import jax

from perl import sharding
from perl.runs.inputs import inputs
from perl.runs.run import Run
from perl.training.loop import Loop


def loop_of(run: Run, stage: str, **options: Any) -> Loop:
    """The loop of a stage, with what its config section and its run say of it.

    Args:
        run: what all stages share.
        stage: its name in the config and in the run folder.
        **options: the fields of `Loop` that the kind of stage adds.
    """
    section = run.config[stage]
    return Loop(
        run.workdir / stage,
        steps=section.steps,
        save_every=section.save_every,
        eval_every=section.eval_every,
        interrupt=run.interrupt,
        inputs=inputs(run, stage),
        begin=run.record_sitting,
        tensorboard=run.config.tensorboard,
        **options,
    )


def place_state(state: Any, mesh: jax.sharding.Mesh) -> Any:
    """Leaves that are not on the mesh yet (counters) on every device of it."""
    everywhere = sharding.replicated(mesh)
    return jax.tree.map(
        lambda x: x if len(x.devices()) == mesh.size else jax.device_put(x, everywhere),
        state,
    )
