"""What a run folder holds, read so that a half-finished run can be shown."""

import dataclasses
import json
import pathlib
from typing import Any

from perl.system import metrics
from perl.system.errors import UserError

KINDS = ('pretrain', 'sft', 'reward', 'policy', 'dpo')


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The files of a run.

    Attributes:
        name: of the experiment, or of the folder.
        config: of `config.json`, empty without one.
        results: final figures by stage.
        metrics: lines of each stage's `metrics.jsonl`.
        samples: rows of each stage's `samples.jsonl` that are of the finished stage;
            those of a step are for whoever watches the training.
        notes: what could not be read, for the reader of the report.
    """

    name: str
    config: dict[str, Any]
    results: dict[str, dict[str, Any]]
    metrics: dict[str, list[dict[str, Any]]]
    samples: dict[str, list[dict[str, Any]]]
    notes: list[str]

    def stages(self, *kinds: str) -> list[str]:
        """The stages of some kinds, or all, in the order of the config."""
        names = [*self.config.get('stages', ()), *self.results, *self.metrics]
        found = self.results.keys() | self.metrics.keys() | self.samples.keys()
        names = [name for name in dict.fromkeys(names) if name in found]
        return [name for name in names if not kinds or self.kind(name) in kinds]

    def kind(self, stage: str) -> str:
        """pretrain, sft, reward or policy; by the stage's name if none is written."""
        own = self.config.get(stage)
        for said in (self.results.get(stage), own):
            if isinstance(said, dict) and said.get('kind'):
                return said['kind']
        return next((kind for kind in KINDS if stage.startswith(kind)), '')


def read(workdir: pathlib.Path) -> Recorded:
    """Reads what is there; what is not is empty, what is broken is noted."""
    notes = []

    def attempt(reader, place, empty):
        try:
            return reader(place)
        except (UserError, OSError, ValueError) as error:
            notes.append(str(error))
            return empty

    config = attempt(_config, workdir / 'config.json', {})
    results = attempt(metrics.read_results, workdir, {})
    folders = [path for path in sorted(workdir.glob('*')) if path.is_dir()]
    lines = {path.name: attempt(metrics.read, path, []) for path in folders}
    rows = {path.name: attempt(_final_samples, path, []) for path in folders}
    return Recorded(
        name=str(config.get('name') or workdir.absolute().name),
        config=config,
        results={k: x for k, x in results.items() if isinstance(x, dict)},
        metrics={name: _dicts(found) for name, found in lines.items() if found},
        samples={name: _dicts(found) for name, found in rows.items() if found},
        notes=notes,
    )


def interval(figures: dict[str, Any], name: str) -> tuple[float, float] | None:
    """The 95 % interval of a figure, however it was written: `ci95` of the stage, of
    figures by their names, or `<name>_ci95`."""
    found = figures.get(f'{name}_ci95')
    if found is None:
        found = figures.get('ci95')
        if isinstance(found, dict):
            found = found.get(name)
        elif name != 'accuracy':
            found = None
    good = isinstance(found, list) and len(found) == 2
    return tuple(found) if good and all(map(is_number, found)) else None


def is_number(value: Any) -> bool:
    """Whether a figure is there and finite; JSON has null for NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def series(
    rows: list[dict[str, Any]], name: str, along: str = 'step'
) -> tuple[list[float], list[float]]:
    """The values of a metric and where they stand, for the lines that have both."""
    pairs = [(row.get(along), row.get(name)) for row in rows]
    pairs = [pair for pair in pairs if all(map(is_number, pair))]
    return [x for x, _ in pairs], [y for _, y in pairs]


def phases(recorded: Recorded, stage: str) -> dict[str, float]:
    """Seconds of a stage by phase, `other` for the rest; empty if none is known."""
    figures, rows = recorded.results.get(stage, {}), recorded.metrics.get(stage, [])
    said = figures.get('seconds')
    if isinstance(said, dict):
        return {name: x for name, x in said.items() if is_number(x) and x > 0}
    names = {name for row in rows for name in row if name.startswith('seconds_')}
    found = {
        name.removeprefix('seconds_'): sum(series(rows, name)[1])
        for name in sorted(names)
    }
    total = said if is_number(said) else (series(rows, 'seconds')[1] or [0])[-1]
    found |= {'other': total - sum(found.values())} if found else {'training': total}
    after = figures.get('evaluation_seconds')
    found |= {'evaluation': after} if is_number(after) else {}
    return {name: x for name, x in found.items() if x > 0}


def seconds(recorded: Recorded, stage: str) -> float | None:
    """All seconds of a stage."""
    return sum(phases(recorded, stage).values()) or None


def _final_samples(folder):
    return [x for x in metrics.read_samples(folder) if 'step' not in x]


def _config(file):
    found = json.loads(file.read_text()) if file.is_file() else {}
    if not isinstance(found, dict):
        raise UserError(f'{file}: not a JSON object')
    return found


def _dicts(rows):
    return [row for row in rows if isinstance(row, dict)]
