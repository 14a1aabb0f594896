"""The figures of finished stages: `results.json` of a run."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from perl.system import hosts, jsonl

RESULTS = 'results.json'


def write(
    workdir: str | os.PathLike,
    stage: str,
    figures: Mapping[str, Any],
    order: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes the figures of a stage into `results.json`; returns the file's content.

    Args:
        workdir: the run folder.
        stage: name of the stage.
        figures: replace those that the stage had.
        order: names of stages; the file has its stages in this order, others last.

    Raises:
        UserError: the existing file does not hold a JSON object.
    """
    hosts.first(lambda: _write(workdir, stage, figures, order))
    return read(workdir)


def _write(workdir, stage, figures, order):
    file = pathlib.Path(workdir) / RESULTS
    merged = read(workdir) | {stage: dict(figures)}
    places = {name: place for place, name in enumerate(order)}
    names = sorted(merged, key=lambda name: places.get(name, len(places)))
    merged = {name: merged[name] for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.save(file, merged)


def forget(workdir: str | os.PathLike, stage: str) -> None:
    """Removes the figures of a stage from `results.json`: it is trained again.

    Raises:
        UserError: the existing file does not hold a JSON object.
    """
    hosts.first(lambda: _forget(workdir, stage))


def _forget(workdir, stage):
    kept = read(workdir)
    if kept.pop(stage, None) is not None:
        jsonl.save(pathlib.Path(workdir) / RESULTS, kept)


def read(workdir: str | os.PathLike) -> dict[str, Any]:
    """The content of `results.json`; empty if the file does not exist.

    Raises:
        UserError: the file does not hold a JSON object.
    """
    return jsonl.load(pathlib.Path(workdir) / RESULTS)
