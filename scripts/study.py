"""Runs a study of configs/study.py over seeds; makes its table and plots.

    python scripts/study.py --study=algorithms --seeds=0,1,2 --workdir=runs/studies

Base, SFT and reward model of a seed are trained once and shared by the studies.
Interrupt it at will: what is finished is skipped, and a run goes on from its
checkpoint. `--finished` only makes table.csv, table.md and the plots of what there is.
"""

import argparse
import csv
import itertools
import pathlib
import statistics
from typing import Any

import numpy as np

from perl import train
from perl.evaluation.figures import frontier, over_optimisation
from perl.report import style
from perl.runs.copies import copy_parts
from perl.system import cli, jsonl, metrics, results
from perl.system.errors import UserError

CONFIG = pathlib.Path(__file__).parents[1] / 'configs' / 'study.py'
STUDIES = ('algorithms', 'regularisers', 'ranks', 'optimisation')
COLUMNS = {
    'accuracy': 'accuracy',
    'gold_before': 'gold before',
    'gold_after': 'gold after',
    'win_rate': 'win rate',
    'kl': 'KL, nats',
    'response_length': 'tokens',
    'trainable': 'trained',
}
Figures = dict[str, dict[str, Any]]


def run(study: str, seed: int, workdir: pathlib.Path) -> None:
    """One seed of a study, from what the seed's studies share."""
    shared = workdir / f'shared-seed{seed}'
    common = train.load_config(f'{CONFIG}:study=shared,seed={seed}')
    train.run(common, shared)
    config = train.load_config(f'{CONFIG}:study={study},seed={seed}')
    folder = folder_of(study, seed, workdir)
    wanted = list(
        itertools.takewhile(lambda x: alike(x, common, config), common.stages)
    )
    if not (folder / results.RESULTS).is_file():
        copy_parts(shared, folder, ('tokenizer', *wanted))
        figures = results.read(shared)
        # last, so that with them everything is there
        jsonl.save(folder / results.RESULTS, {name: figures[name] for name in wanted})
    train.run(config, folder)


def alike(stage: str, common: Any, config: Any) -> bool:
    """Whether a study trains a stage just as the others do."""
    return stage in config.stages and config[stage].to_dict() == common[stage].to_dict()


def folder_of(study: str, seed: int, workdir: pathlib.Path) -> pathlib.Path:
    """Where one seed of a study lives."""
    return workdir / f'{study}-seed{seed}'


def rows(runs: list[Figures]) -> list[dict[str, Any]]:
    """Each stage's figures over the seeds: lists by column."""
    names = dict.fromkeys(name for figures in runs for name in figures)
    stages = []
    for name in names:
        seeds = [figures[name] for figures in runs if name in figures]
        if seeds[0]['kind'] in ('pretrain', 'sft'):
            continue
        columns = {
            column: [row[column] for row in seeds if row.get(column) is not None]
            for column in COLUMNS
        }
        stages.append({'stage': name, 'seeds': len(seeds), **columns})
    return stages


def table(stages: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows of text; columns that nobody fills are left out."""
    used = [name for name in COLUMNS if any(row[name] for row in stages)]
    lines = [['stage', 'seeds', *(COLUMNS[name] for name in used)]]
    for row in stages:
        cells = (_cell(name, row[name]) for name in used)
        lines.append([row['stage'], str(row['seeds']), *cells])
    return lines


def _cell(name, values):
    if not values:
        return ''
    mean = statistics.fmean(values)
    if name == 'trainable':
        return f'{mean:,.0f}'
    digits = 1 if name == 'response_length' else 3
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f'{mean:.{digits}f} ± {spread:.{digits}f}'


def trajectories(folders: list[pathlib.Path], stage: str) -> dict[str, np.ndarray]:
    """A policy's kl, reward and gold while it trained, `[seeds, points]` each."""
    paths = [
        frontier.path(metrics.read(folder / stage))
        for folder in folders
        if (folder / stage).is_dir()
    ]
    points = min(len(path) for path in paths)
    return {
        name: np.array([[row[name] for row in path[:points]] for path in paths])
        for name in ('kl', 'reward', 'gold')
        if points and all(name in row for path in paths for row in path)
    }


def fits(stages: list[dict[str, Any]], folders: list[pathlib.Path]) -> list[list[str]]:
    """Gao's R_RL of each policy's gold reward, all seeds together: a table."""
    lines = [['policy', 'alpha', 'beta', 'peak at sqrt(KL)', 'largest sqrt(KL)', 'R2']]
    for row in policies(stages):
        path = trajectories(folders, row['stage'])
        if 'kl' not in path:
            continue
        start = statistics.fmean(row['gold_before'])
        fit = over_optimisation.fit_metrics(
            'rl', path['kl'].ravel(), path['gold'].ravel() - start
        )
        names = ('alpha', 'beta', 'peak', 'farthest', 'r2')
        cells = {name: f'{fit[name]:.2f}' for name in names}
        if fit['peak'] > fit['farthest']:  # a curve says nothing beyond its points
            cells['peak'] = 'not reached'
        lines.append([row['stage'], *cells.values()])
    return lines


def policies(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of trained policies."""
    return [row for row in stages if row['gold_after']]


@style.styled
def plot(stages: list[dict[str, Any]], folders: list[pathlib.Path]) -> Any:
    """Gold reward of policies at the end; gold and proxy in training, against √KL."""
    judged = policies(stages)
    figure, (ends, *sides) = style.panels(3, 3, height=4.6)
    places = range(len(judged))
    for place, row in zip(places, judged, strict=True):
        gold = row['gold_after']
        ends.scatter(gold, [place] * len(gold), s=14, color=style.BLUE)
        ends.scatter(
            statistics.fmean(gold), place, marker='|', s=140, color=style.ORANGE
        )
    ends.axvline(statistics.fmean(judged[0]['gold_before']), color=style.GREY, ls='--')
    ends.set_yticks(places, [row['stage'].removeprefix('policy_') for row in judged])
    ends.invert_yaxis()
    style.label(ends, 'gold at the end; SFT dashed', 'gold reward', '')
    paths = {row['stage']: trajectories(folders, row['stage']) for row in judged}
    paths = {stage: path for stage, path in paths.items() if 'kl' in path}
    colours = itertools.cycle([*style.COLOURS, 'black', 'brown', 'olive'])
    for colour, (stage, path) in zip(colours, paths.items(), strict=False):
        at = np.sqrt(np.maximum(path['kl'].mean(0), 0))
        label = stage.removeprefix('policy_')
        for axes, name in zip(sides, ('gold', 'reward'), strict=True):
            axes.plot(at, path[name].mean(0), color=colour, label=label, lw=1.4)
    for axes, title in zip(sides, ('gold', 'proxy'), strict=True):
        style.label(axes, f'{title} while training', '√KL', f'{title} reward')
    sides[1].legend(fontsize=6.5, frameon=False)
    return figure


def main() -> None:
    """Entry point."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--study', choices=STUDIES, required=True)
    flags.add_argument('--seeds', default='0,1,2')
    flags.add_argument('--workdir', default='runs/studies', type=pathlib.Path)
    flags.add_argument('--finished', action='store_true')
    args = flags.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(',')]
    if not args.finished:
        for seed in seeds:
            run(args.study, seed, args.workdir)
    folders = [folder_of(args.study, seed, args.workdir) for seed in seeds]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise UserError(f'--workdir: {args.workdir} has no run of {args.study} yet')
    stages = rows([results.read(folder) for folder in folders])
    lines = table(stages)
    out = args.workdir / args.study
    out.mkdir(parents=True, exist_ok=True)
    with (out / 'table.csv').open('w', newline='') as file:
        csv.writer(file).writerows(lines)
    text = markdown(lines)
    (out / 'table.md').write_text(text)
    plot(stages, folders).savefig(out / f'{args.study}.png')
    (out / 'fits.md').write_text(markdown(fits(stages, folders)))
    print(text + f'written: {out}')


def markdown(lines: list[list[str]]) -> str:
    """A table, its first line the header."""
    rule = ['---', *['---:'] * (len(lines[0]) - 1)]
    return ''.join(f'| {" | ".join(x)} |\n' for x in (lines[0], rule, *lines[1:]))


if __name__ == '__main__':
    with cli.one_line_errors():
        main()
