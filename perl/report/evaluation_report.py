"""Writes the evaluation report of a run: `evaluation.md`, plots and tables."""

import functools
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from perl.evaluation.figures import frontier
from perl.report import (
    diagrams,
    drawn_from,
    evaluation_tables,
    frontiers,
    reward_figures,
    run_folder,
)
from perl.report.csv_text import to_csv
from perl.report.evaluation_rows import comparisons, reward_models, rows_by_table
from perl.report.markdown import inert, printable
from perl.report.pictures import Paint, Painter, no_pictures
from perl.report.run_folder import RunFolder
from perl.report.tables import sittings
from perl.report.trajectories import REWARDS
from perl.system import atomic, jsonl


def folder_of(split: str) -> str:
    """The name of an evaluation's folder, different for each split: `evaluation` for
    test, `evaluation_val` for val."""
    return 'evaluation' if split == 'test' else f'evaluation_{split}'


def redraw(workdir: pathlib.Path) -> None:
    """Draws the reports of all evaluations of a run whose files are missing or have
    changed, such as after a kill between the figures and their tables. A report that
    cannot be drawn gives a line on stderr.

    Raises:
        OSError: a file could not be written.
    """
    for split in ('test', 'val', 'train'):
        if (workdir / f'{folder_of(split)}.json').is_file():
            try:
                redraw_split(workdir, split)
            except OSError:
                raise
            except Exception as error:  # figures of another version may lack anything
                why = printable(f'{type(error).__name__}: {error}')[:300]
                name = f'{folder_of(split)}.json'
                print(f'{name} could not be drawn: {why}', file=sys.stderr, flush=True)


def redraw_split(workdir: pathlib.Path, split: str) -> pathlib.Path:
    """Draws the report of one evaluation, unless it is as it was drawn, from the file
    of its figures; returns the path of `evaluation.md`."""
    folder = folder_of(split)

    def draw(workdir):
        write(workdir, jsonl.load(workdir / f'{folder}.json') | {'split': split})

    drawing = drawn_from.evaluation(folder)
    drawn_from.redraw(workdir, draw, drawing)
    return workdir / drawing.page


def write(workdir: str | os.PathLike, found: Mapping[str, Any]) -> pathlib.Path:
    """Rewrites the folder of an evaluation; returns the path of `evaluation.md`.

    Figures are written first and pictures last, so that a picture that fails does not
    prevent the figures.

    Args:
        workdir: the run folder.
        found: the content of `evaluation.json`: figures by stage and comparison, and if
            present `split`, `computed` (`environment.describe`), `frontier` and
            `best_of_n`.

    Raises:
        OSError: a file could not be written.
    """
    workdir, found = pathlib.Path(workdir), jsonl.plain(found)
    folder = workdir / folder_of(found.get('split', 'test'))
    run = run_folder.read(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob('*.png'), *folder.glob('*.csv')):
        old.unlink()
    for name, rows in rows_by_table(found).items():
        if rows:
            atomic.write_text(folder / f'{name}.csv', to_csv(rows))
    file = folder / 'evaluation.md'
    atomic.write_text(file, _page(run, found, no_pictures))
    atomic.write_text(file, _page(run, found, Painter(folder)))
    return file


def _page(run: RunFolder, found: dict[str, Any], paint: Paint) -> str:
    split = found.get('split')
    on = f' on the {inert(split)} split' if split else ''
    parts = [
        f'# Evaluation of {inert(run.name)}{on}\n',
        *_reward_models(reward_models(found), paint),
        *_policies(comparisons(found)),
        *_frontier(found.get('frontier') or {}, paint),
        *_best_of_n(found.get('best_of_n') or {}, paint),
        *_computed(found.get('computed')),
    ]
    return '\n'.join(filter(None, parts))


def _reward_models(models: dict[str, Any], paint: Paint) -> list[str]:
    if not models:
        return []
    tables = evaluation_tables.reward_models(models)
    reliability = functools.partial(diagrams.reliability, models)
    buckets = functools.partial(diagrams.buckets, models)
    parts = [f'## {table.title}\n\n{table.across().markdown()}' for table in tables]
    parts += reward_figures.only_ties(models)
    if not any(x['by_margin'] for x in models.values()):
        return parts
    return [
        *parts,
        'An expected calibration error (ECE) below the quantile that a calibrated '
        'model has by chance does not indicate miscalibration. A temperature above 1 '
        'means that the model was overconfident. The temperature does not change the '
        'accuracy.\n',
        paint('Calibration', 'reliability', reliability),
        'Lines are 95 % intervals. A hollow point stands for fewer than '
        f'{diagrams.FEW} examples. The pale bars show the number of examples in each '
        'bin with the temperature.\n',
        '### Accuracy by subset\n',
        paint('Accuracy by bucket', 'buckets', buckets),
    ]


def _policies(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    return [
        '## Policies\n',
        evaluation_tables.policies(found).across().markdown(),
        'A win counts only if the judge prefers the response in both orders. All other '
        'cases are ties, which count as half a win. The length-controlled rate is the '
        'prediction of a logistic regression for responses of equal length. It is '
        'missing if one side is always longer.\n',
    ]


def _frontier(found: dict[str, Any], paint: Paint) -> list[str]:
    if not found:
        return []
    curves = {
        f'{policy["label"]}: {REWARDS[name]}': curve
        for policy in found['policies']
        for name, curve in policy['curves'].items()
    }
    fits = evaluation_tables.fits(curves)
    return [
        '## Reward against KL\n',
        f'A point is the mean of neighbouring iterations, with at most '
        f'{frontier.POINTS} points per policy. A star is the finished policy on '
        'held-out prompts. Rewards of different reward models are not comparable.\n',
        paint('Frontier', 'frontier', functools.partial(frontiers.frontier, found)),
        '### Over-optimisation\n' if fits.rows else '',
        *(_over_optimisation(policy, paint) for policy in found['policies']),
        fits.markdown() if fits.rows else '',
    ]


def _over_optimisation(policy: dict[str, Any], paint: Paint) -> str:
    label, curves = policy['label'], policy['curves']
    draw = functools.partial(frontiers.optimisation, curves, label)
    return paint(f'Over-optimisation of {label}', f'{label}_optimisation', draw)


def _best_of_n(found: dict[str, Any], paint: Paint) -> list[str]:
    if not found:
        return []
    curves = found['curves']
    fits = evaluation_tables.fits({REWARDS[name]: curves[name] for name in curves})
    draw = functools.partial(frontiers.optimisation, curves, 'best of n')
    return [
        '## Best of n\n',
        f'The reward model chooses the best of n samples, from {found["samples"]} '
        f'samples for each of {found["prompts"]} prompts. Gains are means over all '
        'subsets of n.\n',
        paint('Best of n', 'best_of_n', draw),
        fits.markdown() if fits.rows else '',
    ]


def _computed(row: dict[str, Any] | None) -> list[str]:
    """Where and when the evaluation was computed."""
    if not row:
        return []
    table = sittings([row])
    return [f'## {table.title}\n', table.across().markdown()]
