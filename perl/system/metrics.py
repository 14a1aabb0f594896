"""Figures of a run: one JSON line a step, final results, samples, progress, memory."""

import json
import math
import os
import pathlib
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax
import tqdm

from perl.system import jsonl
from perl.system.errors import UserError

METRICS, SAMPLES, RESULTS = 'metrics.jsonl', 'samples.jsonl', 'results.json'


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
        jsonl.mend(self._file)

    def truncate_after(self, step: int) -> None:
        """Drops the lines of later steps, which a resume writes anew, and lets
        `seconds` go on from the last line that stays.

        Raises:
            UserError: a line is not of a step.
        """
        rows = jsonl.rows(self._file)
        for number, row in enumerate(rows, 1):
            for name in ('step', 'seconds'):
                if not isinstance(row.get(name), int | float):
                    raise UserError(
                        f'{self._file}: line {number} has no number as its {name}; '
                        'remove that line'
                    )
        kept = [row for row in rows if row['step'] <= step]
        if len(kept) < len(rows):
            jsonl.replace(self._file, ''.join(map(jsonl.line, kept)))
        if kept:
            self._began = time.monotonic() - kept[-1]['seconds']

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Appends a step's figures, on the disk when this returns.

        Args:
            step: that they are of.
            figures: scalars of any kind; NaN and infinities become null.
        """
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
        jsonl.replace(file, ''.join(map(jsonl.line, kept)))
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
    jsonl.replace(file, json.dumps(jsonl.plain(merged), indent=2) + '\n')
    return merged


def read_results(workdir: str | os.PathLike) -> dict[str, Any]:
    """What `results.json` holds; nothing where there is no such file.

    Raises:
        UserError: it is no JSON object.
    """
    return jsonl.load(pathlib.Path(workdir) / RESULTS)


def peak_bytes() -> int:
    """The most memory in use so far: of the first device where the backend tells, else
    of the process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'peak_bytes_in_use' in stats:
        return int(stats['peak_bytes_in_use'])
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def progress(total: int, initial: int = 0, desc: str = '') -> tqdm.tqdm:
    """A progress bar on stderr; none where stderr is no terminal."""
    return tqdm.tqdm(total=total, initial=initial, desc=desc, disable=None)


def _step(row):
    return row.get('step', math.inf)
