"""One table of all tunings: what each trains, keeps, needs and reaches.

    python scripts/tunings_table.py --workdir=runs/tunings --seeds=0,1,2

A seed gets one base on the quickstart's booking desk; from it a reward model is trained
with every tuning. Interrupt it at will: what is finished is skipped, and a run goes on
from its checkpoint. Writes table.csv and table.md. `--steps` and `--pretrain` make a
short trial.
"""

import argparse
import csv
import itertools
import pathlib
import statistics
from typing import Any

from tqdm import tqdm

from perl import config as configs
from perl import train
from perl.adapters import bundle
from perl.report.markdown import Table
from perl.runs.copies import copy_parts
from perl.system import cli, metrics, results
from perl.system.errors import UserError

CONFIG = pathlib.Path(__file__).parents[1] / 'configs' / 'quickstart.py'
FULL, ADAPTED = 2e-4, 2e-3  # learning rates of weights themselves and of adapters
# a row of the table: the settings of its tuning
ROWS: dict[str, dict[str, Any]] = {
    'full': {'name': 'full'},
    'top_layers': {'name': 'top_layers', 'layers': 1},
    'lora, attention': {'name': 'lora'},
    'lora, all-linear': {'name': 'lora', 'targets': ('all-linear',)},
    'rslora': {'name': 'lora', 'rank_stabilised': True},
    'lora+': {'name': 'lora', 'b_rate': 16.0},
    'dora': {'name': 'dora'},
    'pissa': {'name': 'pissa'},
    'qlora': {'name': 'qlora'},
    'qalora': {'name': 'qalora'},
    'bitfit': {'name': 'bitfit'},
    'houlsby': {'name': 'houlsby'},
    'pfeiffer': {'name': 'pfeiffer'},
    'prefix': {'name': 'prefix'},
}
HEADER = (
    *('tuning', 'trained', 'adapter KiB', 'step MiB', 'seconds a step', 'seeds'),
    'accuracy',
)


def config_of(row: str, seed: int, steps: int = 0, pretrain: int = 0) -> Any:
    """The config of one reward model; numbers of steps of 0 are the quickstart's."""
    config = train.load_config(f'{CONFIG}:seed={seed}').unlock()
    config.stages = ('pretrain', 'reward')
    config.reward.start = 'base'
    settings = {'alpha': 16.0, **ROWS[row]}
    config.reward.tuning = configs.tuning_config(**settings)
    weights = settings['name'] in ('full', 'top_layers')
    config.reward.optimizer.learning_rate = FULL if weights else ADAPTED
    config.reward.steps = steps or config.reward.steps
    config.pretrain.steps = pretrain or config.pretrain.steps
    return config.lock()


def reward_run(
    workdir: pathlib.Path, row: str, seed: int, **steps: int
) -> dict[str, Any]:
    """Trains one reward model from the seed's base; returns its row."""
    shared = workdir / f'base-seed{seed}'
    if 'pretrain' not in results.read(shared):
        train.run(config_of('full', seed, **steps), shared, ['pretrain'])
    folder = workdir / f'{row.replace(", ", "_")}-seed{seed}'
    if 'reward' not in results.read(folder):
        copy_parts(shared, folder, ('tokenizer', 'pretrain/base'))
        train.run(config_of(row, seed, **steps), folder, ['reward'])
    figures = results.read(folder)['reward']
    times = [line['seconds'] for line in metrics.read(folder / 'reward')]
    return {
        'tuning': row,
        'seed': seed,
        **{name: figures[name] for name in ('trainable', 'step_bytes', 'accuracy')},
        'adapter_bytes': (folder / 'reward' / 'adapter' / bundle.ARRAYS).stat().st_size,
        'step_seconds': statistics.median(b - a for a, b in itertools.pairwise(times)),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table: means over seeds, and the deviation of the accuracy."""
    lines = []
    for name in ROWS:
        seeds = [row for row in rows if row['tuning'] == name]
        if not seeds:
            continue
        accuracies = [row['accuracy'] for row in seeds]
        spread = f' ± {statistics.stdev(accuracies):.1%}' if len(seeds) > 1 else ''
        first, fastest = seeds[0], min(row['step_seconds'] for row in seeds)
        lines.append(
            [
                *(name, f'{first["trainable"]:,}'),
                f'{first["adapter_bytes"] / 2**10:,.0f}',
                f'{first["step_bytes"] / 2**20:,.1f}',
                *(f'{fastest:.3f}', str(len(seeds))),
                f'{statistics.mean(accuracies):.1%}{spread}',
            ]
        )
    return Table('', HEADER, lines).markdown()


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--workdir', type=pathlib.Path, default='runs/tunings')
    flags.add_argument('--seeds', default='0')
    flags.add_argument('--only', default='', help='rows, separated by semicolons')
    flags.add_argument('--steps', type=int, default=0)
    flags.add_argument('--pretrain', type=int, default=0)
    args = flags.parse_args(argv)
    chosen = [name for name in args.only.split(';') if name] or list(ROWS)
    for name in chosen:
        if name not in ROWS:
            raise UserError(f'--only: {name!r} is not one of {"; ".join(ROWS)}')
    seeds, rows = [int(x) for x in args.seeds.split(',')], []
    steps = {'steps': args.steps, 'pretrain': args.pretrain}
    args.workdir.mkdir(parents=True, exist_ok=True)
    for seed, name in tqdm([*itertools.product(seeds, chosen)], 'reward models'):
        rows.append(reward_run(args.workdir, name, seed, **steps))
        with (args.workdir / 'table.csv').open('w', newline='') as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        (args.workdir / 'table.md').write_text(markdown(rows), encoding='utf-8')
    print(markdown(rows))


if __name__ == '__main__':
    with cli.one_line_errors():
        main()
