"""The loop around every stage's update: resume, log, save, stop."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from perl.checkpoint import Checkpoints
from perl.system import hosts
from perl.system.errors import UserError
from perl.system.interrupt import Stopped
from perl.system.memory import peak_bytes
from perl.system.metrics import METRICS, Elsewhere, Metrics, check
from perl.system.progress import Progress
from perl.training.loop import Loop

START = 'start_'  # begins the names of what was measured before the first step


def fit(
    loop: Loop,
    state: Any,
    update: Callable[[Any, int], tuple[Any, dict[str, Any]]],
) -> tuple[Any, dict[str, float]]:
    """Runs `update` from where the newest good checkpoint stands to the last step.

    Args:
        loop: how many steps, and what happens beside them.
        state: before the first step; gives structure and placement for a restore.
        update: `(state, step) -> state, metrics`, a function of its arguments alone.
            Its metric `tokens`, where it has one, becomes `tokens_per_second`.

    Returns:
        The final state, and what it took in this and earlier processes: `seconds`,
        `step_bytes` of the largest program, and `peak_bytes` of the process.

    Raises:
        Stopped: SIGTERM or Ctrl-C, after saving.
        UserError: a metric is not finite; checkpoints before it stay. Or what is on
            the disk does not go together.
    """
    checkpoints = Checkpoints(loop.folder / 'checkpoints', inputs=loop.inputs)
    state, start, before = _resume(loop, checkpoints, state)
    metrics = _open_metrics(loop, start)
    if loop.begin:
        loop.begin()
    cost = _Cost(before, loop.program)
    with Progress(loop.steps, start, loop.name, loop.shown) as progress:
        for step in range(start, loop.steps):
            state, row = _advance(loop, state, update, step)
            done = step + 1
            metrics.write(done, row)
            _check_finite(row, done, loop)
            progress.step(row)
            # read once: a signal may come at any time, to any of the processes
            stop = hosts.agreed(loop.interrupt.requested)
            if loop.saves(done) or stop:
                hosts.first(lambda: check(loop.folder))  # a save must not make it anew
                checkpoints.save(done, state, {**loop.memory, 'took': cost.so_far()})
            if stop and done < loop.steps:
                metrics.close()
                raise Stopped(f'{loop.name}: stopped and saved after step {done}')
    hosts.first(lambda: check(loop.folder))
    metrics.close()
    checkpoints.close()
    return state, cost.so_far()


class _Cost:
    """The cost of the steps, in this and earlier processes."""

    def __init__(self, before, program):
        self._before, self._program = before, program
        self._began = time.monotonic()

    def so_far(self) -> dict[str, float]:
        """`seconds`, `step_bytes` and `peak_bytes`."""
        step_bytes = self._program.peak_bytes if self._program else 0
        seconds = self._before['seconds'] + time.monotonic() - self._began
        return {
            'seconds': seconds,
            'step_bytes': max(self._before['step_bytes'], step_bytes),
            'peak_bytes': max(self._before['peak_bytes'], peak_bytes()),
        }


def _resume(loop, checkpoints, state):
    """The state to resume from, its step, and the cost of the steps before it."""
    restored = checkpoints.restore(state)
    if restored is None:
        return state, 0, {'seconds': 0.0, 'step_bytes': 0, 'peak_bytes': 0}
    state, extra, start = restored
    took = extra.pop('took')
    loop.memory.update(extra)
    return state, start, took


def _open_metrics(loop, start):
    """The metrics of the steps before `start`, to append to."""
    if not hosts.is_first():
        return Elsewhere()
    metrics = Metrics(loop.folder, tensorboard=loop.tensorboard)
    if start == 0:
        _check_fresh(metrics, min(loop.save_every, loop.steps), loop.folder)
    metrics.truncate_after(start)
    return metrics


def _advance(loop, state, update, step):
    """The state after a step, and the line of figures of that step."""
    # before the update, which takes the arrays of the state
    row = _start_figures(loop.evaluate_start, state) if step == 0 else {}
    clock = time.monotonic()
    state, learned = update(state, step)
    row |= _figures(learned, clock)
    if loop.evaluates(step + 1):
        row |= {k: float(x) for k, x in loop.evaluate(state, step + 1).items()}
    return state, row


def _check_fresh(metrics, first, folder):
    """Without a checkpoint, the lines must be of steps before the first one."""
    last = metrics.last_step()
    if last > first:
        raise UserError(
            f'{folder / "checkpoints"} is empty, but {folder / METRICS} has lines of '
            f'{last} steps; put the checkpoints back, or remove {folder} to train '
            f'{folder.name} from the beginning'
        )
    if last:
        print(
            f'{folder.name}: it ended after step {last}, before its first checkpoint; '
            'it begins again at step 1',
            file=sys.stderr,
            flush=True,
        )


def _start_figures(evaluate_start, state):
    """The figures of the state before the first step, under names of their own."""
    figures = evaluate_start(state) if evaluate_start else {}
    return {f'{START}{name}': float(x) for name, x in figures.items()}


def _figures(row, began):
    """The metrics of an update as floats, when its arrays are there."""
    row = {name: float(x) for name, x in jax.device_get(row).items()}
    if 'tokens' in row:
        row['tokens_per_second'] = row.pop('tokens') / (time.monotonic() - began)
    return row


def _check_finite(row, step, loop):
    bad = [name for name, x in row.items() if not math.isfinite(x)]
    if not bad:
        return
    folder = loop.folder
    where = f'{loop.name}: {", ".join(bad)} is not finite at step {step}'
    first = {*loop.before_update, *(name for name in row if name.startswith(START))}
    if step == 1 and set(bad) & first:
        raise UserError(
            f'{where}, before the first update: a weight that the stage starts from is '
            'NaN or infinite, or too large for model.dtype; look at the base and at '
            f'the stage it starts from, and move {folder} away, so that it begins anew'
        )
    raise UserError(
        f'{where}; lower the learning rate or clip harder, and move {folder} away, so '
        'that the stage begins anew. Checkpoints before it are intact'
    )
