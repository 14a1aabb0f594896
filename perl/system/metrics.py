"""Figures of a run: one JSON line a step, final results, samples, memory."""

import collections
import math
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from perl.system import jsonl
from perl.system.errors import UserError

METRICS, SAMPLES, RESULTS = 'metrics.jsonl', 'samples.jsonl', 'results.json'
_LARGEST = 1e15  # of steps and seconds


class Sink(Protocol):
    """Something that takes the figures of a step."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes them."""

    def close(self) -> None:
        """Lets go of what it holds."""


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
            folder: of the stage; made if it is not there.
            tensorboard: also write event files to `folder/tensorboard`.
            sinks: others that take every step too.

        Raises:
            UserError: tensorboard without tensorboardX.
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
        """The largest step that a line is of; 0 where there are no lines.

        Raises:
            UserError: a line is not of a step.
        """
        return max((row['step'] for row in self._rows()), default=0)

    def truncate_after(self, step: int) -> None:
        """Drops the lines of later steps, which a resume writes anew, and lets
        `seconds` go on from the last line that stays.

        Raises:
            UserError: a line is not of a step, or the lines up to `step` are not one of
                each.
        """
        rows = self._rows()
        kept = [row for row in rows if row['step'] <= step]
        steps = [row['step'] for row in kept]
        if steps != list(range(1, step + 1)):
            stage = self._file.parent
            raise UserError(
                f'{self._file}: {_disorder(steps, step)}, but the checkpoint is of '
                f'step {step}; put a copy back, or remove {stage} to train '
                f'{stage.name} from the beginning'
            )
        if len(kept) < len(rows):
            jsonl.save_rows(self._file, kept)
        if kept:
            self._began = time.monotonic() - kept[-1]['seconds']

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

    def check(self) -> None:
        """Raises a `UserError` where the file was removed, maybe with its folder."""
        if not self._file.exists():
            raise UserError(
                f'{self._file} was removed or moved while the stage was training; run '
                'the same command again, which goes on from what is left'
            )

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Appends a step's figures, on the disk when this returns.

        Args:
            step: that they are of.
            figures: scalars of any kind; NaN and infinities become null.

        Raises:
            UserError: the file was removed in the meantime.
        """
        self.check()
        figures = {name: float(x) for name, x in figures.items()}
        row = {'step': int(step), 'seconds': round(time.monotonic() - self._began, 3)}
        jsonl.append(self._file, [row | figures])
        for sink in self._sinks:
            sink.write(step, figures)

    def close(self) -> None:
        """Closes the sinks."""
        for sink in self._sinks:
            sink.close()


class TensorBoard:
    """Event files, by tensorboardX."""

    def __init__(self, folder: str | os.PathLike):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError(
                'tensorboard: tensorboardX is not installed; '
                "pip install 'perl[track]' or set tensorboard to False"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of a step."""
        for name, x in figures.items():
            self._writer.add_scalar(name, x, step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def read(folder: str | os.PathLike) -> list[dict[str, float | None]]:
    """The lines of a stage's `metrics.jsonl`; none where there is no such file."""
    return jsonl.rows(pathlib.Path(folder) / METRICS)


def append_samples(
    folder: str | os.PathLike, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Appends rows to a stage's `samples.jsonl`.

    Rows of the same or a later `step`, which an interrupted sitting left, give way;
    rows without a step are of the finished stage, later than any.

    Args:
        folder: of the stage.
        rows: of JSON values, all of one step.
    """
    rows = list(rows)
    file = pathlib.Path(folder) / SAMPLES
    file.parent.mkdir(parents=True, exist_ok=True)
    old = jsonl.rows(file)
    kept = [row for row in old if any(_step(row) < _step(new) for new in rows)]
    if len(kept) < len(old):
        jsonl.save_rows(file, kept)
    jsonl.mend(file)
    jsonl.append(file, rows)


def read_samples(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of a stage's `samples.jsonl`; none where there is no such file."""
    return jsonl.rows(pathlib.Path(folder) / SAMPLES)


def results(
    workdir: str | os.PathLike, stage: str, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Puts the figures of a stage into `results.json` and returns all of it.

    Raises:
        UserError: the file that is there is no JSON object.
    """
    file = pathlib.Path(workdir) / RESULTS
    merged = read_results(workdir) | {stage: dict(figures)}
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.save(file, merged)
    return merged


def read_results(workdir: str | os.PathLike) -> dict[str, Any]:
    """What `results.json` holds; nothing where there is no such file.

    Raises:
        UserError: it is no JSON object.
    """
    return jsonl.load(pathlib.Path(workdir) / RESULTS)


def _step(row):
    return row.get('step', math.inf)


def _disorder(steps, last):
    """What is wrong with lines that should be of steps 1 to `last`."""
    count = collections.Counter(steps)
    for step in range(1, last + 1):
        if not count[step]:
            return f'it has no line of step {step}'
        if count[step] > 1:
            return f'it has {count[step]} lines of step {step}'
    return 'its lines are not in the order of their steps'
