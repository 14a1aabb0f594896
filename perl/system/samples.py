"""What a policy said: the rows of a stage's `samples.jsonl`."""

import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from perl.system import hosts, jsonl

SAMPLES = 'samples.jsonl'


def append(folder: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a stage's `samples.jsonl`.

    Old rows of the same or a later `step`, left by an interrupted process, are removed.
    Rows without a step belong to the finished stage and count as later than any step.

    Args:
        folder: folder of the stage.
        rows: JSON objects, all of one step.
    """
    hosts.first(lambda: _append(folder, list(rows)))


def _append(folder, rows):
    file = pathlib.Path(folder) / SAMPLES
    file.parent.mkdir(parents=True, exist_ok=True)
    old = jsonl.rows(file)
    earlier = [row for row in old if any(_step(row) < _step(new) for new in rows)]
    if len(earlier) < len(old):
        jsonl.save_rows(file, earlier)
    jsonl.mend(file)
    jsonl.append(file, rows)


def read(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of a stage's `samples.jsonl`; empty if the file does not exist."""
    return jsonl.rows(pathlib.Path(folder) / SAMPLES)


def _step(row):
    return row.get('step', math.inf)
