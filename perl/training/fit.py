"""The loop around every stage's update: resume, log, save, stop."""

import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from perl.checkpoint import Checkpoints
from perl.system.errors import UserError
from perl.system.interrupt import Interrupt, Stopped
from perl.system.memory import peak_bytes
from perl.system.metrics import METRICS, Metrics
from perl.system.progress import Progress
from perl.training.compiled import Compiled

START = 'start_'  # begins the names of what was measured before the first step


def fit(
    folder: pathlib.Path,
    state: Any,
    update: Callable[[Any, int], tuple[Any, dict[str, Any]]],
    *,
    steps: int,
    save_every: int,
    interrupt: Interrupt,
    inputs: Mapping[str, Any] | None = None,
    begin: Callable[[], None] | None = None,
    evaluate: Callable[[Any, int], dict[str, float]] | None = None,
    evaluate_start: Callable[[Any], dict[str, float]] | None = None,
    eval_every: int = 0,
    program: Compiled | None = None,
    memory: dict[str, Any] | None = None,
    tensorboard: bool = False,
    shown: tuple[str, ...] = ('loss',),
    before_update: tuple[str, ...] = (),
) -> tuple[Any, dict[str, float]]:
    """Runs `update` from where the newest good checkpoint stands to `steps`.

    Args:
        folder: of the stage: `metrics.jsonl` and `checkpoints/` go there.
        state: before the first step; tells structure and placement for a restore.
        update: `(state, step) -> state, metrics`, a function of its arguments alone.
            Its metric `tokens`, where it has one, becomes `tokens_per_second`.
        steps: where to end.
        save_every: steps between checkpoints; the last step is always saved.
        interrupt: asked after each step whether to stop.
        inputs: what the state is computed from, see `perl.checkpoint.Checkpoints`.
        begin: called before the first step of this sitting, when nothing was refused.
        evaluate: figures of a state after a step, joined to that step's metrics.
        evaluate_start: figures of the state before the first step; they join the line
            of step 1, as `start_...`.
        eval_every: steps between evaluations; 0 evaluates after the last.
        program: the compiled update; its peak memory is reported.
        memory: a dict that is saved with the state and put back on a resume.
        tensorboard: also write event files.
        shown: metrics in the progress bar.
        before_update: metrics that a step measures before its update; where they are
            not finite at the first step, learning is not the cause.

    Returns:
        The final state, and what it took in this and earlier sittings: `seconds`,
        `step_bytes` of the largest program, and `peak_bytes` of the process.

    Raises:
        Stopped: SIGTERM or Ctrl-C, after saving.
        UserError: a metric is not finite; checkpoints before it stay. Or what is on
            the disk does not go together.
    """
    memory = {} if memory is None else memory
    checkpoints = Checkpoints(folder / 'checkpoints', inputs=inputs)
    start, before = 0, {'seconds': 0.0, 'step_bytes': 0, 'peak_bytes': 0}
    restored = checkpoints.restore(state)
    metrics = Metrics(folder, tensorboard=tensorboard)
    if restored is None:
        _check_fresh(metrics, min(save_every, steps), folder)
    else:
        state, extra, start = restored
        before = extra.pop('took')
        memory.update(extra)
    metrics.truncate_after(start)
    if begin:
        begin()
    began = time.monotonic()

    def took() -> dict[str, float]:
        step_bytes = program.peak_bytes if program else 0
        return {
            'seconds': before['seconds'] + time.monotonic() - began,
            'step_bytes': max(before['step_bytes'], step_bytes),
            'peak_bytes': max(before['peak_bytes'], peak_bytes()),
        }

    with Progress(steps, start, folder.name, shown) as progress:
        for step in range(start, steps):
            # before the update, which takes the arrays of the state
            row = _start_figures(evaluate_start, state) if step == 0 else {}
            clock = time.monotonic()
            state, learned = update(state, step)
            row |= _figures(learned, clock)
            done = step + 1
            last = done == steps
            if evaluate and (last or (eval_every and done % eval_every == 0)):
                row |= {k: float(x) for k, x in evaluate(state, done).items()}
            metrics.write(done, row)
            _check_finite(row, done, folder, before_update)
            progress.step(row)
            stop = interrupt.requested  # read once: a signal may come at any time
            if last or done % save_every == 0 or stop:
                metrics.check()  # a save must not make a folder anew
                checkpoints.save(done, state, {**memory, 'took': took()})
            if stop and not last:
                metrics.close()
                raise Stopped(f'{folder.name}: stopped and saved after step {done}')
    metrics.close()
    checkpoints.close()
    return state, took()


def _check_fresh(metrics, first, folder):
    """Without a checkpoint, the lines must be of steps before the first one."""
    last = metrics.last_step()
    if last > first:
        raise UserError(
            f'{folder / "checkpoints"} is empty, but {folder / METRICS} tells of '
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


def _check_finite(row, step, folder, before_update):
    bad = [name for name, x in row.items() if not math.isfinite(x)]
    if not bad:
        return
    where = f'{folder.name}: {", ".join(bad)} is not finite at step {step}'
    first = {*before_update, *(name for name in row if name.startswith(START))}
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
