"""One table of all tunings: what each trains, keeps, needs and reaches.

    python scripts/tunings_table.py --workdir=runs/tunings --seeds=0,1,2
    python scripts/tunings_table.py --base=SmolLM2-135M-Instruct.Q4_1.gguf \
        --hh=../shared/data/hh-rlhf --scale=gpu --workdir=runs/tunings_smollm2

A reward model with every tuning: on the quickstart's booking desk, where a seed gets
one base, or over the model of `--base` on HH harmlessness, as configs/smollm2.py has
it. Interrupt it at will: what is finished is skipped, and a run goes on from its
checkpoint. Writes table.csv and table.md. `--steps` and `--pretrain` shorten it.
"""

import argparse
import csv
import itertools
import pathlib
import statistics
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from perl import config as configs
from perl import train
from perl.adapters import bundle
from perl.report.markdown import Table
from perl.runs.copies import copy_parts
from perl.system import cli, metrics, results
from perl.system.errors import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
WEIGHTS = ('full', 'top_layers')  # whose learning rate is a tenth of an adapter's
# a row of the table: the settings of its tuning, and how the base is stored
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
    **{
        f'lora over {stored}': {
            **{'name': 'lora', 'targets': ('all-linear',), 'quantization': stored},
        }
        for stored in ('int8', 'int4', 'fp8')
    },
    'bitfit': {'name': 'bitfit'},
    'houlsby': {'name': 'houlsby'},
    'pfeiffer': {'name': 'pfeiffer'},
    'prefix': {'name': 'prefix'},
}
HEADER = (
    *('tuning', 'trained', 'adapter KiB', 'step MiB', 'seconds a step', 'seeds'),
    'accuracy',
)


def config_of(args: argparse.Namespace, row: str, seed: int) -> ConfigDict:
    """The config of one reward model."""
    if args.base:
        chosen = f'data=harmlessness,base={args.base},scale={args.scale},seed={seed}'
        config = train.load_config(f'{CONFIGS}/smollm2.py:{chosen}').unlock()
        config.data.root = str(args.hh)
        config.stages = ('reward',)
    else:
        config = train.load_config(f'{CONFIGS}/quickstart.py:seed={seed}').unlock()
        config.stages = ('pretrain', 'reward')
        config.reward.start = 'base'
        config.pretrain.steps = args.pretrain or config.pretrain.steps
    settings = {'alpha': 16.0, **ROWS[row]}
    config.model.quantization = settings.pop('quantization', 'none')
    if row == 'top_layers' and args.base:
        settings['layers'] = 2
    config.reward.tuning = configs.tuning_config(**settings)
    if settings['name'] in WEIGHTS:
        config.reward.optimizer.learning_rate /= 10
    config.reward.steps = args.steps or config.reward.steps
    return config.lock()


def reward_run(args: argparse.Namespace, row: str, seed: int) -> dict[str, Any]:
    """Trains one reward model, on the desk from the seed's base; returns its row."""
    folder = args.workdir / f'{row.replace(", ", "_").replace(" ", "_")}-seed{seed}'
    if 'reward' not in results.read(folder):
        if not args.base:
            shared = args.workdir / f'base-seed{seed}'
            if 'pretrain' not in results.read(shared):
                train.run(config_of(args, 'full', seed), shared, ['pretrain'])
            copy_parts(shared, folder, ('tokenizer', 'pretrain/base'))
        train.run(config_of(args, row, seed), folder, ['reward'])
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
    flags.add_argument('--base', default='', help='GGUF file or folder; else the desk')
    flags.add_argument('--hh', type=pathlib.Path, help='folder of hh-rlhf')
    flags.add_argument('--scale', default='cpu', choices=('cpu', 'gpu'))
    flags.add_argument('--only', default='', help='rows, separated by semicolons')
    flags.add_argument('--steps', type=int, default=0)
    flags.add_argument('--pretrain', type=int, default=0)
    args = flags.parse_args(argv)
    chosen = [name for name in args.only.split(';') if name] or list(ROWS)
    for name in chosen:
        if name not in ROWS:
            raise UserError(f'--only: {name!r} is not one of {"; ".join(ROWS)}')
    seeds, rows = [int(x) for x in args.seeds.split(',')], []
    args.workdir.mkdir(parents=True, exist_ok=True)
    for seed, name in tqdm([*itertools.product(seeds, chosen)], 'reward models'):
        rows.append(reward_run(args, name, seed))
        with (args.workdir / 'table.csv').open('w', newline='') as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        (args.workdir / 'table.md').write_text(markdown(rows), encoding='utf-8')
    print(markdown(rows))


if __name__ == '__main__':
    with cli.one_line_errors():
        main()
