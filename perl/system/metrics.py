"""The figures of a stage while it runs: one JSON line a step in `metrics.jsonl`."""

import collections
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from perl.system import jsonl
from perl.system.errors import UserError
from perl.system.tensorboard import TensorBoard

METRICS = 'metrics.jsonl'
_LARGEST = 1e15  # limit of steps and seconds


class Sink(Protocol):
    """Receives the figures of every step."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Receives the figures of a step."""

    def close(self) -> None:
        """Releases its resources."""


class Metrics:
    """The metrics of a stage: `metrics.jsonl` in its folder, and other sinks."""

    def __init__(
        self,
        folder: str | os.PathLike,
        tensorboard: bool = False,
        sinks: Iterable[Sink] = (),
    ):
        """Opens the file to append to.

        Args:
            folder: folder of the stage; created if needed.
            tensorboard: whether to also write event files to `folder/tensorboard`.
            sinks: also receive the figures of every step.

        Raises:
            UserError: tensorboard is set, but tensorboardX is not installed.
        """
        self._file = pathlib.Path(folder) / METRICS
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._sinks = list(sinks)
        if tensorboard:
            self._sinks.append(TensorBoard(self._file.parent / 'tensorboard'))
        self._began = time.monotonic()
        self._file.touch()
        jsonl.mend(self._file)

    def last_step(self) -> int:
        """The largest step in the file; 0 if it has no lines.

        Raises:
            UserError: a line has no valid step or seconds.
        """
        return max((row['step'] for row in self._rows()), default=0)

    def truncate_after(self, step: int) -> None:
        """Drops the lines of later steps, which a resume writes again, and continues
        `seconds` from the last remaining line.

        Raises:
            UserError: a line has no valid step or seconds, or there is not exactly one
                line for each step up to `step`.
        """
        rows = self._rows()
        up_to_step = [row for row in rows if row['step'] <= step]
        steps = [row['step'] for row in up_to_step]
        if steps != list(range(1, step + 1)):
            stage = self._file.parent
            raise UserError(
                f'{self._file}: {_disorder(steps, step)}, but the checkpoint is of '
                f'step {step}; put a copy back, or remove {stage} to train '
                f'{stage.name} from the beginning'
            )
        if len(up_to_step) < len(rows):
            jsonl.save_rows(self._file, up_to_step)
        if up_to_step:
            self._began = time.monotonic() - up_to_step[-1]['seconds']

    def _rows(self):
        rows = jsonl.rows(self._file)
        for number, row in enumerate(rows, 1):
            for name, kind in (('step', int), ('seconds', int | float)):
                if not (isinstance(row.get(name), kind) and 0 <= row[name] < _LARGEST):
                    raise UserError(
                        f'{self._file}: line {number} has no number as its {name}; '
                        'remove that line'
                    )
        return rows

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Appends a step's figures; they are on the disk when this returns.

        Args:
            step: number of the step.
            figures: scalars of any kind; NaN and infinities become null.

        Raises:
            UserError: the file was removed in the meantime.
        """
        check(self._file.parent)
        figures = {name: float(x) for name, x in figures.items()}
        row = {'step': int(step), 'seconds': round(time.monotonic() - self._began, 3)}
        jsonl.append(self._file, [row | figures])
        for sink in self._sinks:
            sink.write(step, figures)

    def close(self) -> None:
        """Closes the sinks."""
        for sink in self._sinks:
            sink.close()


class Elsewhere:
    """The metrics of a stage in a process that does not write them: the first does."""

    def last_step(self) -> int:
        """As if there were no lines."""
        return 0

    def truncate_after(self, step: int) -> None:
        """Drops nothing."""

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Writes nothing."""

    def close(self) -> None:
        """Closes nothing."""


def check(folder: str | os.PathLike) -> None:
    """Raises a `UserError` if a stage's `metrics.jsonl` was removed."""
    if not (file := pathlib.Path(folder) / METRICS).exists():
        what = f'{file} was removed or moved while the stage was training'
        mend = 'run the same command again, which continues from what is left'
        raise UserError(f'{what}; {mend}')


def read(
    folder: str | os.PathLike, steps: int | None = None
) -> list[dict[str, float | None]]:
    """The lines of a stage's `metrics.jsonl`; empty if the file does not exist.

    Args:
        folder: of the stage.
        steps: how many steps it had, where it is finished.

    Raises:
        UserError: a line is not a JSON object, or there is not exactly one line for
            each step of a finished stage.
    """
    rows = jsonl.rows(file := pathlib.Path(folder) / METRICS)
    found = [row.get('step') for row in rows]
    if steps and file.exists() and found != list(range(1, steps + 1)):
        raise UserError(
            f'{file}: {_disorder(found, steps)}; put a copy back, or remove the file'
        )
    return rows


def _disorder(steps, last):
    """Describes how `steps` differ from 1 to `last`."""
    count = collections.Counter(steps)
    for step in range(1, last + 1):
        if not count[step]:
            return f'it has no line of step {step}'
        if count[step] > 1:
            return f'it has {count[step]} lines of step {step}'
    return 'its lines are not in the order of their steps'
