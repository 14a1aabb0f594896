"""Reads the files of a run folder, finished or not, for its report."""

import dataclasses
import os
import pathlib
from typing import Any

from perl.config import kinds
from perl.report.values import is_number, series
from perl.system import jsonl, metrics, results, samples
from perl.system.environment import SITTINGS
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        name: name of the experiment, or of the folder.
        config: content of `config.json`; empty if it does not exist.
        results: final figures by stage.
        metrics: lines of each stage's `metrics.jsonl`.
        samples: rows of each stage's `samples.jsonl` for the finished stage, which have
            no step; where there are none, as of SFT, those of the last step.
        sittings: lines of `sittings.jsonl`, one per process that trained a stage.
        notes: errors of files that could not be read.
    """

    name: str
    config: dict[str, Any]
    results: dict[str, dict[str, Any]]
    metrics: dict[str, list[dict[str, Any]]]
    samples: dict[str, list[dict[str, Any]]]
    sittings: list[dict[str, Any]]
    notes: list[str]

    def stages(self, *wanted: str) -> list[str]:
        """The stages of the wanted kinds (default: all), in the order of the config."""
        names = self.config.get('stages')
        names = list(map(str, names)) if isinstance(names, list) else []
        has_files = self.results.keys() | self.metrics.keys() | self.samples.keys()
        names = dict.fromkeys([*names, *self.results, *self.metrics])
        names = [name for name in names if name in has_files]
        return [name for name in names if not wanted or self.kind(name) in wanted]

    def section(self, stage: str) -> dict[str, Any]:
        """The config of a stage; empty if unknown."""
        section = self.config.get(stage)
        return section if isinstance(section, dict) else {}

    def kind(self, stage: str) -> str:
        """The kind of a stage; if it is not recorded, from the start of its name."""
        for source in (self.results.get(stage, {}), self.section(stage)):
            if isinstance(source.get('kind'), str):
                return source['kind']
        return next((kind for kind in kinds.KINDS if stage.startswith(kind)), '')

    def origin(self, stage: str) -> dict[str, Any]:
        """The config of the first trained stage below an average or ensemble; that of
        the stage itself for other kinds."""
        section = self.section(stage)
        for _ in self.config:  # a limit, since a broken config may have a circle
            parts = section.get('of')
            if not (isinstance(parts, list) and parts):
                break
            section = self.section(str(parts[0]))
        return section

    def trained_by(self, stage: str) -> str:
        """The reward that a policy was trained on; '' for DPO, which trains on none."""
        section = self.origin(stage)
        is_trained = section.get('kind') == 'policy'
        return str(section.get('reward', '')) if is_trained else ''


def read(workdir: pathlib.Path) -> RunFolder:
    """Reads the files of a run. A missing file is empty, an unreadable one is noted."""
    notes = []

    def attempt(reader, path, empty):
        try:
            return reader(path)
        except (UserError, OSError, ValueError) as error:
            notes.append(str(error))
            return empty

    def steps_of(folder):
        done = figures.get(folder.name)
        steps = done.get('steps') if isinstance(done, dict) else None
        return metrics.read(folder, steps if isinstance(steps, int) else None)

    config = attempt(jsonl.load, workdir / 'config.json', {})
    figures = attempt(results.read, workdir, {})
    folders = [path for path in sorted(workdir.glob('*')) if path.is_dir()]
    lines = {path.name: attempt(steps_of, path, []) for path in folders}
    rows = {path.name: attempt(_final_samples, path, []) for path in folders}
    return RunFolder(
        name=str(config.get('name') or workdir.absolute().name),
        config=config,
        results={k: x for k, x in figures.items() if isinstance(x, dict)},
        metrics={stage: x for stage, x in lines.items() if x},
        samples={stage: x for stage, x in rows.items() if x},
        sittings=attempt(jsonl.rows, workdir / SITTINGS, []),
        notes=notes,
    )


def check(workdir: str | os.PathLike) -> None:
    """Raises a `UserError` for the first file of a run that cannot be read."""
    for note in read(pathlib.Path(workdir)).notes:
        raise UserError(note)


def phases(run: RunFolder, stage: str) -> dict[str, float]:
    """Seconds of a stage by phase, with `other` for the rest; empty if unknown."""
    figures, rows = run.results.get(stage, {}), run.metrics.get(stage, [])
    total = figures.get('seconds')
    if isinstance(total, dict):
        return {name: x for name, x in total.items() if is_number(x) and x > 0}
    names = {name for row in rows for name in row if name.startswith('seconds_')}
    spent = {
        name.removeprefix('seconds_'): sum(series(rows, name)[1])
        for name in sorted(names)
    }
    if not is_number(total):
        total = (series(rows, 'seconds')[1] or [0])[-1]
    spent |= {'other': total - sum(spent.values())} if spent else {'training': total}
    after = figures.get('evaluation_seconds')
    spent |= {'evaluation': after} if is_number(after) else {}
    return {name: x for name, x in spent.items() if x > 0}


def seconds(run: RunFolder, stage: str) -> float | None:
    """The total seconds of a stage, or None."""
    return sum(phases(run, stage).values()) or None


def _final_samples(folder):
    rows = samples.read(folder)
    last = max((x for row in rows if is_number(x := row.get('step'))), default=None)
    final = [row for row in rows if 'step' not in row]
    return final or [row for row in rows if row.get('step') == last]
