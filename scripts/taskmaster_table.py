"""Full tuning against LoRA on the Taskmaster ratings, beside what needs no model.

    python scripts/taskmaster_table.py --root=../shared/data/taskmaster \
        --workdir=runs/taskmaster

A dataset gets one base and one SFT model; from them a reward model is trained with
every tuning and every seed. Interrupt it at will: what is finished is skipped, and a
run goes on from its checkpoint. Writes table.csv, table.md and table.png.
"""

import argparse
import csv
import itertools
import json
import pathlib
import statistics
from typing import Any

from tqdm import tqdm

from perl import data, train
from perl.evaluation.figures import baselines
from perl.report import style
from perl.report.markdown import Table
from perl.runs.copies import copy_parts
from perl.system import cli, metrics, results

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
DATASETS = ('coffee', 'ticketing')
TUNINGS = {
    'full': 'tuning=full',
    **{f'lora r={rank}': f'tuning=lora,rank={rank}' for rank in (1, 4, 8, 16)},
}
SCORES = ('auc', 'balanced_accuracy')
HEADER = (
    *('data', 'reward model', 'trained', 'seeds', 'AUC', 'balanced accuracy'),
    *('seconds', 'peak MiB'),
)
SHARED = ('tokenizer', 'pretrain/base', 'sft/adapter')  # of the base, in every run


def config_of(dataset: str, root: str, tuning: str = 'full', seed: int = 0) -> Any:
    """The config of one run."""
    file = CONFIGS / f'taskmaster_{dataset}.py'
    config = train.load_config(f'{file}:{TUNINGS[tuning]},seed={seed}')
    config.data.root = root
    return config


def reward_run(
    workdir: pathlib.Path, dataset: str, root: str, tuning: str, seed: int
) -> dict[str, Any]:
    """Trains one reward model from the dataset's base; returns its row."""
    folder = folder_of(workdir, dataset, tuning, seed)
    if not (folder / results.RESULTS).is_file():
        copy_parts(workdir / dataset / 'base', folder, SHARED)
        train.run(config_of(dataset, root, tuning, seed), folder, ['reward'])
    figures = json.loads((folder / results.RESULTS).read_text())['reward']
    wanted = ('trainable', *SCORES, 'accuracy', 'step_bytes')
    return {
        'dataset': dataset,
        'tuning': tuning,
        'seed': seed,
        **{name: figures[name] for name in wanted},
        'seconds': figures['steps'] * step_seconds(metrics.read(folder / 'reward')),
    }


def folder_of(
    workdir: pathlib.Path, dataset: str, tuning: str, seed: int
) -> pathlib.Path:
    """Where a run lives."""
    return workdir / dataset / f'{tuning.replace(" ", "_")}-seed{seed}'


def step_seconds(rows: list[dict[str, Any]]) -> float:
    """The median wall time from one step to the next: no compiling or evaluating."""
    times = [row['seconds'] for row in rows]
    return statistics.median(b - a for a, b in itertools.pairwise(times))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each dataset and tuning: mean and standard deviation over seeds."""
    groups: dict[tuple, list] = {}
    for row in rows:
        groups.setdefault((row['dataset'], row['tuning']), []).append(row)
    lines = []
    for (dataset, tuning), seeds in groups.items():
        line = {'dataset': dataset, 'tuning': tuning, 'seeds': len(seeds)}
        for name in SCORES:
            values = [row[name] for row in seeds]
            line[name] = statistics.mean(values)
            line[f'{name}_std'] = statistics.stdev(values) if len(values) > 1 else 0.0
        line['seconds'] = min(row['seconds'] for row in seeds)  # the least disturbed
        line |= {name: seeds[0][name] for name in ('trainable', 'step_bytes')}
        lines.append(line)
    return lines


def markdown(lines: list[dict[str, Any]], simple: dict[str, dict]) -> str:
    """The table, the baselines beneath each dataset."""
    rows = []
    for dataset, figures in simple.items():
        for line in (x for x in lines if x['dataset'] == dataset):
            row = [dataset, line['tuning'], f'{line["trainable"]:,}', line['seeds']]
            for name in SCORES:
                spread = f' ± {line[f"{name}_std"]:.3f}' if line['seeds'] > 1 else ''
                row.append(f'{line[name]:.3f}{spread}')
            mebibytes = line['step_bytes'] / 2**20
            rows.append([*row, f'{line["seconds"]:.0f}', f'{mebibytes:.0f}'])
        for name, baseline in figures.items():
            scores = [f'{baseline[x]:.3f}' for x in SCORES]
            rows.append([dataset, name.replace('_', ' '), '', '', *scores, '', ''])
    return Table('', HEADER, [list(map(str, row)) for row in rows]).markdown()


@style.styled
def plot(
    lines: list[dict[str, Any]], simple: dict[str, dict], file: pathlib.Path
) -> None:
    """AUC by tuning with the deviation over seeds; baselines as lines."""
    figure, panels = style.panels(len(simple), len(simple), height=3.8)
    for axes, (dataset, figures) in zip(panels, simple.items(), strict=True):
        rows = [x for x in lines if x['dataset'] == dataset]
        x, y, spread = ([x[k] for x in rows] for k in ('tuning', 'auc', 'auc_std'))
        axes.errorbar(x, y, spread, fmt='o', color=style.BLUE, capsize=4)
        colours = (style.GREY, style.GREEN, style.ORANGE)
        for (name, row), colour in zip(figures.items(), colours, strict=True):
            label = name.replace('_', ' ')
            axes.axhline(row['auc'], color=colour, ls='--', lw=1, label=label)
        style.label(axes, dataset, 'tuning of the reward model', 'AUC, test split')
        axes.legend(frameon=False, loc='center right', bbox_to_anchor=(1, 0.25))
    figure.savefig(file, dpi=120)


def write(
    workdir: pathlib.Path, rows: list[dict[str, Any]], simple: dict[str, dict]
) -> str:
    """Writes table.csv, table.md and table.png; returns the Markdown."""
    with (workdir / 'table.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = summary(rows)
    text = markdown(lines, simple)
    (workdir / 'table.md').write_text(text)
    plot(lines, simple, workdir / 'table.png')
    return text


def measure(root: str, dataset: str) -> dict[str, dict]:
    """The test figures of the baselines."""
    records = data.load(f'taskmaster_{dataset}', root=root)
    measured = baselines.metrics(records.ratings, 'test')
    return {name: figures for name, (figures, _) in measured.items()}


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--root', required=True, help='the Taskmaster repository')
    flags.add_argument('--workdir', default='runs/taskmaster', type=pathlib.Path)
    flags.add_argument('--seeds', default=3, type=int, help='how many')
    flags.add_argument('--datasets', nargs='+', default=DATASETS, choices=DATASETS)
    flags.add_argument('--finished', action='store_true', help='train nothing more')
    args = flags.parse_args(argv)
    simple = {name: measure(args.root, name) for name in args.datasets}
    for name in args.datasets:
        config = config_of(name, args.root)
        train.run(config, args.workdir / name / 'base', ['pretrain', 'sft'])
    rows, text = [], ''
    runs = list(itertools.product(range(args.seeds), args.datasets, TUNINGS))
    for seed, dataset, tuning in tqdm(runs, 'runs'):
        folder = folder_of(args.workdir, dataset, tuning, seed)
        if args.finished and not (folder / results.RESULTS).is_file():
            continue
        rows.append(reward_run(args.workdir, dataset, args.root, tuning, seed))
        rows.sort(key=lambda row: list(TUNINGS).index(row['tuning']))
        text = write(args.workdir, rows, simple)
    print(text)


if __name__ == '__main__':
    with cli.one_line_errors():
        main()
