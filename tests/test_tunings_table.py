"""The script that makes the table of docs/tunings.md."""

import argparse
import csv
import json

import pytest
from commands import command
from imported import imported

from perl.config import rules

script = imported('scripts/tunings_table.py')


def run(workdir, *more):
    return command('scripts/tunings_table.py', f'--workdir={workdir}', *more)


@pytest.fixture(params=['', 'model.gguf'])
def args(request):
    """The flags of a table on the desk, and over a base."""
    return argparse.Namespace(
        base=request.param, hh='hh', scale='cpu', steps=3, pretrain=2
    )


@pytest.mark.parametrize('row', script.ROWS)
def test_the_config_of_a_row(args, row):
    config = script.config_of(args, row, seed=1)
    rules.validate(config)
    adapter, weights = (script.config_of(args, x, 1) for x in ('dora', 'full'))
    rate = config.reward.optimizer.learning_rate
    same = weights if row in ('full', 'top_layers') else adapter
    assert rate == same.reward.optimizer.learning_rate
    assert (config.reward.steps, config.seed) == (3, 1)
    stored = row.removeprefix('lora over ')
    assert config.model.quantization == ('none' if stored == row else stored)


def test_means_and_deviations(tmp_path):
    for seed, accuracy in enumerate((0.8, 0.9)):
        reward = tmp_path / f'lora_over_fp8-seed{seed}' / 'reward'
        (reward / 'adapter').mkdir(parents=True)
        (reward / 'adapter' / 'adapter.safetensors').write_bytes(bytes(2048))
        lines = [json.dumps({'step': i, 'seconds': 2.0 * i}) for i in (1, 2, 3)]
        (reward / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
        figures = {'trainable': 4000, 'step_bytes': 2**20, 'accuracy': accuracy}
        file = reward.parent / 'results.json'
        file.write_text(json.dumps({'reward': figures}))
    ended = run(tmp_path, '--seeds=0,1', '--only=lora over fp8')
    assert ended.code == 0, ended.err
    with (tmp_path / 'table.csv').open() as file:
        assert [row['accuracy'] for row in csv.DictReader(file)] == ['0.8', '0.9']
    (line,) = [x for x in ended.out.splitlines() if 'fp8' in x]
    assert [cell.strip() for cell in line.strip('| ').split('|')] == [
        *('lora over fp8', '4,000', '2', '1.0', '2.000', '2', '85.0% ± 7.1%'),
    ]


def test_bad_input_is_one_line(tmp_path):
    for more in (['--only=lora x'], [f'--base={tmp_path / "no.gguf"}']):
        ended = run(tmp_path, *more)
        assert ended.code
        assert ended.err.splitlines()[-1].startswith('error: ')
        assert 'Traceback' not in ended.err
