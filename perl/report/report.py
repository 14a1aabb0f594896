"""Writes the report of a run from its files: `report.md`, `plots/` and `tables/`."""

import functools
import os
import pathlib
from typing import Any

from perl.report import accuracies, curves, plots, sample_table, tables
from perl.report.csv_text import to_csv
from perl.report.markdown import inert
from perl.report.pictures import Paint, Painter, Pictures, no_pictures, pictures_in
from perl.report.run_folder import RunFolder, read
from perl.report.style import Plot
from perl.system import atomic
from perl.system.environment import SITTINGS
from perl.system.results import RESULTS

PLOTS, TABLES = 'plots', 'tables'
SAMPLES = 8  # most rows in the table of samples
BESIDE = 'Reward models beside their baselines'


def write(workdir: str | os.PathLike) -> pathlib.Path:
    """Writes the report of a run, finished or not, and returns its path.

    Figures are written first and pictures last, so that a picture that fails does not
    prevent the figures. Missing results are left out.

    Raises:
        OSError: a file could not be written.
    """
    workdir = pathlib.Path(workdir)
    run, file = read(workdir), workdir / 'report.md'
    _write_csv(run, workdir / TABLES)
    atomic.write_text(file, _page(run, no_pictures))
    atomic.write_text(file, _page(run, Painter(workdir / PLOTS, f'{PLOTS}/')))
    return file


def pictures(workdir: str | os.PathLike) -> Pictures:
    """The current pictures of a run's report."""
    return pictures_in(pathlib.Path(workdir) / PLOTS)


def _page(run: RunFolder, paint: Paint) -> str:
    parts = [
        f'# {inert(run.name)}\n',
        _setting(run),
        *(f'> Left out, could not be read: {inert(note)}\n' for note in run.notes),
        *_figures(run),
        *_shown(paint, BESIDE, 'accuracies', accuracies.accuracies, run),
        *_curves(run, paint),
        *_shown(paint, 'Time', 'time', plots.time, run),
        *_samples(run),
        *_sittings(run),
        _files(run),
    ]
    return '\n'.join(filter(None, parts))


def _shown(
    paint: Paint, title: str, name: str, plot: Plot, *args: Any
) -> tuple[str, ...]:
    """A picture below a heading; empty without data."""
    text = paint(title, name, functools.partial(plot, *args))
    return (f'### {inert(title)}\n', text) if text else ()


def _setting(run: RunFolder) -> str:
    model, data = run.section('model'), run.section('data')
    settings = {
        'data': data.get('name'),
        'base': model.get('path') or model.get('name'),
        'seed': run.config.get('seed'),
        'stages': ', '.join(run.stages()),
    }
    lines = [f'- {k}: {inert(x)}' for k, x in settings.items() if x not in (None, '')]
    return '\n'.join(lines) + '\n' if lines else ''


def _figures(run: RunFolder) -> list[str]:
    shown = [*tables.reward_models(run), tables.policies(run), tables.language(run)]
    return [
        f'## {table.title}\n\n{table.across().markdown()}'
        for table in shown
        if table.rows
    ]


def _curves(run: RunFolder, paint: Paint) -> list[str]:
    parts = ['## Learning curves\n'] if run.metrics else []
    for stage in run.stages():
        policy_plots = (
            (f'{stage}: reward against KL', 'reward_kl', plots.reward_kl),
            (f'{stage}: rewards before and after', 'rewards', plots.histograms),
        )
        plot = curves.policy if run.kind(stage) == 'policy' else curves.supervised
        parts += _shown(paint, stage, f'{stage}_curves', plot, run, stage)
        for title, name, plot in policy_plots:
            if run.kind(stage) in ('policy', 'dpo'):
                parts += _shown(paint, title, f'{stage}_{name}', plot, run, stage)
    return parts


def _samples(run: RunFolder) -> list[str]:
    parts = []
    for stage, rows in run.samples.items():
        table = sample_table.samples(rows, SAMPLES)
        what = (
            f'{len(table.rows)} of {len(rows)} prompts, evenly spaced from the largest '
            'loss to the largest gain of the policy over its reference.'
        )
        if 'step' in rows[0]:
            what = f'Responses to held-out prompts at step {inert(rows[0]["step"])}.'
        parts.append(f'## Samples of {inert(stage)}\n\n{what}\n\n{table.markdown()}')
    return parts


def _sittings(run: RunFolder) -> list[str]:
    if not run.sittings:
        return []
    table = tables.sittings(run.sittings)
    few = f'The last {len(table.rows)} of {len(run.sittings)} processes that trained.\n'
    every = 'One line for each process that trained a stage.\n'
    note = every if len(table.rows) == len(run.sittings) else few
    return [f'## {table.title}\n', note, table.markdown()]


def _files(run: RunFolder) -> str:
    files = [f'`{RESULTS}`'] if run.results else []
    files += [f'`{SITTINGS}`'] if run.sittings else []
    files += [f'{inert(stage)}/metrics.jsonl' for stage in run.metrics]
    files += [f'{inert(stage)}/samples.jsonl' for stage in run.samples]
    return f'Drawn from {", ".join(files)}.\n' if files else ''


def _write_csv(run: RunFolder, folder: pathlib.Path) -> None:
    rows_by_name = {
        'results': [
            {'stage': stage} | tables.flat(figures)
            for stage, figures in run.results.items()
        ],
        'sittings': run.sittings,
        **{f'{stage}_metrics': rows for stage, rows in run.metrics.items()},
        **{f'{stage}_samples': rows for stage, rows in run.samples.items()},
    }
    for name, rows in rows_by_name.items():
        if rows:
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(folder / f'{name}.csv', to_csv(rows))
