"""The report of a run: `report.md`, `plots/*.png`, `tables/*.csv`, from files alone."""

import os
import pathlib
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from perl.report import plots, tables
from perl.report.canvas import STYLE
from perl.report.recorded import Recorded, read
from perl.report.tables import Table
from perl.system import atomic
from perl.system.metrics import RESULTS

SAMPLES = 8  # rows of the table of samples


def write(workdir: str | os.PathLike) -> pathlib.Path:
    """Writes the report of a run, finished or not, and returns its path.

    Whatever the run has not made yet is left out.
    """
    workdir = pathlib.Path(workdir)
    recorded = read(workdir)
    draw = _Drawn(workdir)
    parts = [
        f'# {recorded.name}\n',
        _setting(recorded),
        *_notes(recorded),
        *_headline(recorded),
        draw('Accuracy of the reward models', 'accuracies', plots.accuracies(recorded)),
        *_stages(recorded, draw),
        draw('Time', 'time', plots.time(recorded)),
        *_samples(recorded),
        _files(recorded),
    ]
    _write_csv(recorded, workdir / 'tables')
    file = workdir / 'report.md'
    atomic.write_text(file, '\n'.join(filter(None, parts)))
    return file


class _Drawn:
    """Saves plots and says how the report shows them."""

    def __init__(self, workdir: pathlib.Path):
        self._folder = workdir / 'plots'

    def __call__(self, title: str, name: str, figure: Figure | None) -> str:
        if figure is None:
            return ''
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f'{name}.png'
        with atomic.replacing(file) as new, matplotlib.rc_context(STYLE):
            figure.savefig(new)
        return f'### {title}\n\n![{title}](plots/{name}.png)\n'


def _setting(recorded: Recorded) -> str:
    model = recorded.config.get('model') or {}
    data = recorded.config.get('data') or {}
    said = {
        'data': data.get('name'),
        'base': model.get('path') or model.get('name'),
        'seed': recorded.config.get('seed'),
        'stages': ', '.join(recorded.stages()),
    }
    lines = [f'- {name}: {x}' for name, x in said.items() if x not in (None, '')]
    return '\n'.join(lines) + '\n' if lines else ''


def _notes(recorded: Recorded) -> list[str]:
    return [f'> Left out, could not be read: {note}\n' for note in recorded.notes]


def _headline(recorded: Recorded) -> list[str]:
    makers: list[Callable[[Recorded], Table]] = [
        tables.reward,
        tables.policy,
        tables.language,
    ]
    made = [table for table in (make(recorded) for make in makers) if table.rows]
    return [f'## {table.title}\n\n{table.across().markdown()}' for table in made]


def _stages(recorded: Recorded, draw: _Drawn) -> list[str]:
    parts = ['## Learning curves\n'] if recorded.metrics else []
    for stage in recorded.stages():
        if recorded.kind(stage) != 'policy':
            figure = plots.supervised(recorded, stage)
            parts.append(draw(stage, f'{stage}_curves', figure))
            continue
        parts += [
            draw(stage, f'{stage}_curves', plots.policy(recorded, stage)),
            draw(
                f'{stage}: reward against KL',
                f'{stage}_reward_kl',
                plots.reward_kl(recorded, stage),
            ),
            draw(
                f'{stage}: rewards before and after',
                f'{stage}_rewards',
                plots.histograms(recorded, stage),
            ),
        ]
    return parts


def _samples(recorded: Recorded) -> list[str]:
    parts = []
    for stage, rows in recorded.samples.items():
        table = tables.samples(rows, SAMPLES)
        parts.append(
            f'## Samples of {stage}\n\n{len(table.rows)} of {len(rows)} prompts, '
            'evenly spaced from the largest loss to the largest gain of the policy '
            f'over its reference.\n\n{table.markdown()}'
        )
    return parts


def _files(recorded: Recorded) -> str:
    found = [f'`{RESULTS}`'] if recorded.results else []
    found += [f'`{stage}/metrics.jsonl`' for stage in recorded.metrics]
    found += [f'`{stage}/samples.jsonl`' for stage in recorded.samples]
    return f'Drawn from {", ".join(found)}.\n' if found else ''


def _write_csv(recorded: Recorded, folder: pathlib.Path) -> None:
    made = {
        'results': [
            {'stage': stage} | tables.flat(figures)
            for stage, figures in recorded.results.items()
        ],
        **{f'{stage}_metrics': rows for stage, rows in recorded.metrics.items()},
        **{f'{stage}_samples': rows for stage, rows in recorded.samples.items()},
    }
    for name, rows in made.items():
        if rows:
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(folder / f'{name}.csv', tables.to_csv(rows))
