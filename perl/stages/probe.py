"""The scalar head alone: nothing below it moves, so every text is read once."""

import dataclasses
import functools
import math

import numpy as np

from perl.adapters import tree
from perl.data.examples import Examples
from perl.evaluation.reward_task import RewardTask
from perl.models import heads
from perl.runs.roles import Role
from perl.system import hosts, placement
from perl.system.interrupt import Interrupt, Stopped
from perl.system.progress import Progress
from perl.training.compiled import Compiled


def read(
    task: RewardTask,
    role: Role,
    data: dict[str, Examples],
    name: str,
    interrupt: Interrupt,
) -> tuple[RewardTask, int]:
    """Runs the model over the examples of each split.

    Args:
        task: of the reward model.
        role: the reward model.
        data: the encoded records of each split.
        name: of the stage, for the progress that is shown.
        interrupt: asked after each batch whether to stop.

    Returns:
        The task with the states that its head reads, float32 `[n, K, D]` of each split
        in the memory of the host; and the peak bytes of the program on a device.

    Raises:
        Stopped: somebody asked to stop. Nothing is saved: the next process reads anew.
    """
    program = Compiled(functools.partial(_states, task.arch))
    total = sum(math.ceil(len(x) / task.rows_of_a_batch(x)) for x in data.values())
    with Progress(total, 0, f'{name}: states below the head') as progress:

        def states(examples):
            most = examples.completion_counts.max(initial=1)
            out = np.zeros((len(examples), most, task.arch.width), np.float32)
            for rows, batch in task.batches(examples):
                part = placement.fetch(program(role.base, role.delta, batch))
                out[rows, : part.shape[1]] = part[: len(rows)]
                progress.step({})
                if hosts.agreed(interrupt.requested):
                    raise Stopped(f'{name}: stopped before its first step')
            return out

        known = {
            split: dataclasses.replace(x, states=states(x)) for split, x in data.items()
        }
    return dataclasses.replace(task, known=known), program.peak_bytes


def _states(arch, base, delta, batch):
    """The final states `[B, K, D]` at the last tokens of the completions of a batch."""
    states = heads.last_states(arch, tree.bind(base, delta), heads.rows(batch))
    return states.reshape(batch['tokens'].shape[0], -1, states.shape[-1])
