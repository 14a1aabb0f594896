"""Reward models and a policy over SmolLM2-135M-Instruct, one table.

    python scripts/smollm2_table.py --base=SmolLM2-135M-Instruct.Q4_1.gguf \
        --shared=../shared/data --scale=gpu --seeds=0,1,2 --workdir=runs/smollm2

HH harmlessness: LoRA of rank 4 and 8, and the scalar head alone; the policy learns from
the reward model of rank 8 and is judged by that of rank 4 too, which did not teach it.
Taskmaster Coffee and Ticketing: LoRA of rank 8. Interrupt it at will: what is finished
is skipped, and a run goes on from its checkpoint. Writes table.csv and table.md.
"""

import argparse
import csv
import dataclasses
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from tqdm import tqdm

from perl import train
from perl.report.markdown import Table
from perl.system import cli, metrics, results

CONFIG = pathlib.Path(__file__).parents[1] / 'configs' / 'smollm2.py'
HEADER = (
    *('data', 'reward model', 'trained', 'seeds', 'accuracy', 'AUC'),
    *('balanced accuracy', 'best baseline', 'seconds a step'),
)
SCORES = ('accuracy', 'auc', 'balanced_accuracy')


@dataclasses.dataclass(frozen=True)
class Row:
    """One reward model of the table.

    Attributes:
        data: argument of the config.
        folder: of its files, in the folder of `--shared`.
        label: of the tuning.
        tuning: arguments of the config.
    """

    data: str
    folder: str
    label: str
    tuning: str


ROWS = (
    Row('harmlessness', 'hh-rlhf', 'head alone', 'tuning=head'),
    Row('harmlessness', 'hh-rlhf', 'lora r=4', 'rank=4'),
    Row('harmlessness', 'hh-rlhf', 'lora r=8', 'rank=8'),
    Row('taskmaster_coffee', 'taskmaster', 'lora r=8', 'rank=8'),
    Row('taskmaster_ticketing', 'taskmaster', 'lora r=8', 'rank=8'),
)
TEACHER, SECOND = ROWS[2], ROWS[1]


def folder_of(workdir: pathlib.Path, row: Row, seed: int) -> pathlib.Path:
    """Where a run lives."""
    return workdir / row.data / f'{row.label.replace(" ", "_")}-seed{seed}'


def train_row(args: argparse.Namespace, row: Row, seed: int, stage: str) -> None:
    """Trains a stage of a row and those before it, unless they are finished."""
    folder = folder_of(args.workdir, row, seed)
    if stage in results.read(folder):
        return
    chosen = f'data={row.data},base={args.base},scale={args.scale}'
    config = train.load_config(f'{CONFIG}:{chosen},{row.tuning},seed={seed}')
    config.data.root = str(args.shared / row.folder)
    train.run(config, folder, config.stages[: config.stages.index(stage) + 1])


def reward_figures(folder: pathlib.Path) -> dict[str, Any]:
    """The row of a finished reward model."""
    figures = results.read(folder)['reward']
    times = [line['seconds'] for line in metrics.read(folder / 'reward')]
    best = figures['best_baseline']
    return {
        **{name: figures.get(name) for name in ('trainable', *SCORES)},
        'baseline': f'{best["name"].replace("_", " ")} {best["baseline"]:.3f}',
        'step_seconds': statistics.median(b - a for a, b in itertools.pairwise(times)),
    }


def second_opinion(workdir: pathlib.Path, seed: int) -> dict[str, Any]:
    """The policy beside its start, by the reward model that did not teach it."""
    folder = folder_of(workdir, TEACHER, seed)
    judge = folder_of(workdir, SECOND, seed) / 'reward' / 'adapter'
    command = [sys.executable, '-m', 'perl.evaluate', f'--workdir={folder}']
    subprocess.run([*command, '--policy=policy', f'--judge={judge}'], check=True)
    return json.loads((folder / 'evaluation.json').read_text())['policy against base']


def policy_figures(workdir: pathlib.Path, seed: int) -> dict[str, Any]:
    """The row of a finished policy; win rates with their 95 % intervals."""
    figures = results.read(folder_of(workdir, TEACHER, seed))['policy']
    second = second_opinion(workdir, seed)
    return {
        'seed': seed,
        **{name: figures[name] for name in ('reward_before', 'reward_after', 'kl')},
        'win_rate': (figures['win_rate'], figures['win_rate_ci95']),
        'second': (second['win_rate'], second['win_rate_ci95']),
    }


def rewards_table(rows: list[dict[str, Any]]) -> str:
    """Reward models: means over seeds and, where there are several, the deviation."""
    lines = []
    for row in ROWS:
        seeds = [x for x in rows if (x['data'], x['label']) == (row.data, row.label)]
        if not seeds:
            continue
        fastest = min(x['step_seconds'] for x in seeds)
        lines.append(
            [
                *(row.data, row.label, f'{seeds[0]["trainable"]:,}', str(len(seeds))),
                *(_spread([x[name] for x in seeds]) for name in SCORES),
                *(seeds[0]['baseline'], f'{fastest:.2f}'),
            ]
        )
    return Table('', HEADER, lines).markdown()


def policies_table(rows: list[dict[str, Any]]) -> str:
    """Policies, one row a seed."""
    header = ('seed', 'reward before', 'reward after', 'KL, nats')
    header = (*header, 'win rate by its teacher', 'win rate by the second judge')
    lines = [
        [
            str(x['seed']),
            *(f'{x[name]:.2f}' for name in ('reward_before', 'reward_after', 'kl')),
            *(_share(x[name]) for name in ('win_rate', 'second')),
        ]
        for x in rows
    ]
    return Table('', header, lines).markdown()


def _spread(values):
    if None in values:
        return ''
    deviation = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.3f}{deviation}'


def _share(figure):
    rate, (low, high) = figure
    return f'{rate:.0%} [{100 * low:.0f}, {100 * high:.0f}]'


def write(workdir: pathlib.Path, name: str, rows: list[dict[str, Any]], text: str):
    """Writes a table as `NAME.csv` and `NAME.md`."""
    with (workdir / f'{name}.csv').open('w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (workdir / f'{name}.md').write_text(text, encoding='utf-8')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--base', required=True, help='GGUF file or folder')
    flags.add_argument('--shared', type=pathlib.Path, required=True)
    flags.add_argument('--workdir', type=pathlib.Path, default='runs/smollm2')
    flags.add_argument('--scale', default='cpu', choices=('cpu', 'gpu'))
    flags.add_argument('--seeds', default='0')
    names = tuple(dict.fromkeys(row.data for row in ROWS))
    flags.add_argument('--data', nargs='+', default=names, choices=names)
    flags.add_argument('--finished', action='store_true', help='train nothing more')
    args = flags.parse_args(argv)
    args.workdir.mkdir(parents=True, exist_ok=True)
    seeds, rows, policies = [int(x) for x in args.seeds.split(',')], [], []
    chosen = [row for row in ROWS if row.data in args.data]
    for seed, row in tqdm([*itertools.product(seeds, chosen)], 'reward models'):
        folder = folder_of(args.workdir, row, seed)
        if not args.finished:
            train_row(args, row, seed, 'reward')
        if 'reward' in results.read(folder):
            figures = reward_figures(folder)
            rows.append({'data': row.data, 'label': row.label, 'seed': seed, **figures})
            write(args.workdir, 'rewards', rows, rewards_table(rows))
    for seed in tqdm(seeds if TEACHER in chosen else [], 'policies'):
        folder = folder_of(args.workdir, TEACHER, seed)
        if not args.finished:
            train_row(args, TEACHER, seed, 'policy')
        if 'policy' in results.read(folder):
            policies.append(policy_figures(args.workdir, seed))
            write(args.workdir, 'policies', policies, policies_table(policies))
    for name in ('rewards', 'policies'):
        if (args.workdir / f'{name}.md').is_file():
            print((args.workdir / f'{name}.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
    with cli.one_line_errors():
        main()
