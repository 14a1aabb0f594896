"""The script that makes the tables of docs/real_models.md."""

import csv
import json
import pathlib

import pytest
import runs
from commands import command
from imported import imported

from perl.adapters import bundle

FIGURES = {
    'trainable': 4_000,
    'auc': 0.7,
    'balanced_accuracy': 0.6,
    'best_baseline': {'name': 'bag_of_words', 'baseline': 0.689},
}


def finished(folder, accuracy):
    """A run folder as far as the script reads it."""
    (folder / 'reward').mkdir(parents=True)
    reward = {**FIGURES, 'accuracy': accuracy}
    (folder / 'results.json').write_text(json.dumps({'reward': reward}))
    lines = [json.dumps({'step': i, 'seconds': 2.0 * i}) for i in (1, 2, 3)]
    (folder / 'reward' / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')


def script(workdir, *more):
    flags = ('--base=none.gguf', f'--shared={workdir}', f'--workdir={workdir}')
    return command('scripts/smollm2_table.py', *flags, *more)


def test_means_and_deviations_of_what_is_finished(tmp_path):
    for seed, accuracy in enumerate((0.8, 0.9)):
        finished(tmp_path / f'taskmaster_coffee/lora_r=8-seed{seed}', accuracy)
    ended = script(tmp_path, '--seeds=0,1,2', '--finished')
    assert ended.code == 0, ended.err
    with (tmp_path / 'rewards.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['accuracy'] for row in rows] == ['0.8', '0.9']
    (line,) = [x for x in ended.out.splitlines() if 'taskmaster_coffee' in x]
    cells = [cell.strip() for cell in line.strip('| ').split('|')]
    assert cells == [
        *('taskmaster_coffee', 'lora r=8', '4,000', '2', '0.850 ± 0.071'),
        *('0.700 ± 0.000', '0.600 ± 0.000', 'bag of words 0.689', '2.00'),
    ]
    assert not (tmp_path / 'policies.md').exists()


def test_the_second_judge_is_the_adapter_of_another_run(
    finished, tmp_path, monkeypatch
):
    table = imported('scripts/smollm2_table.py')
    taught, other = (
        table.folder_of(tmp_path, row, 0) for row in (table.TEACHER, table.SECOND)
    )
    runs.clone(finished, other)
    asked = []

    def evaluate(command, check):
        asked.extend(command[2:])
        taught.mkdir(parents=True)
        figures = {'policy against base': {'win_rate': 0.5}}
        (taught / 'evaluation.json').write_text(json.dumps(figures))

    monkeypatch.setattr(table.subprocess, 'run', evaluate)
    assert table.second_opinion(tmp_path, 0) == {'win_rate': 0.5}
    *_, judge = asked
    assert bundle.exists(pathlib.Path(judge.removeprefix('--judge=')))


@pytest.mark.parametrize(
    'more', [['--scale=tpu'], ['--data', 'shp'], ['--data', 'harmlessness']]
)
def test_bad_input_is_one_line(tmp_path, more):
    ended = script(tmp_path, *more)
    assert ended.code
    assert ended.err.splitlines()[-1].count('error: ') == 1
    assert 'Traceback' not in ended.err
