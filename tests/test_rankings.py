"""Rankings of different numbers of completions, from the file to the figures."""

import itertools
import json

import jax
import pytest
import runs
from ml_collections import ConfigDict

from perl import config as configs
from perl import data, evaluate, train
from perl.evaluation import examine
from perl.evaluation.reward_task import reward_task
from perl.runs import opening
from perl.system import samples

SIZES = (2, 3, 2, 4)


@pytest.fixture
def rankings(tmp_path):
    """The tables of the small experiment; some comparisons have more completions."""
    folder = runs.write_tables(tmp_path / 'data')
    file = folder / 'comparisons.jsonl'
    rows = map(json.loads, file.read_text().splitlines())
    lines = []
    for row, size in zip(rows, itertools.cycle(SIZES), strict=False):
        ranked = [row['chosen'], row['rejected'], ' No.', ' Not here.'][:size]
        lines.append(json.dumps({'prompt': row['prompt'], 'ranked': ranked}) + '\n')
    file.write_text(''.join(lines))
    return folder


def test_a_reward_model_and_dpo_of_rankings(tmp_path, rankings):
    config = runs.config(f'files={rankings}').unlock()
    columns = {'completions': 'ranked'}
    source = {'path': config.data.comparisons, 'columns': columns}
    config.data = ConfigDict({**config.data, 'comparisons': source})
    config.reward.update(share_prompts='always', start='base', steps=4, eval_every=2)
    config.dpo = configs.dpo_config(
        1e-2,
        reward='reward',
        tuning=config.sft.tuning,
        start='base',
        steps=4,
        batch_size=8,
        eval_every=2,
    )
    config.stages = ('pretrain', 'reward', 'dpo')
    workdir = tmp_path / 'run'
    figures = runs.run(config.lock(), workdir)
    run = opening.open_finished(workdir)
    encoded = run.encoded(run.dataset.comparisons['test'])
    sizes = encoded.completion_counts
    assert len(set(sizes)) == 3
    assert figures['reward']['n'] == len(encoded)
    assert figures['reward']['pairs'] == (sizes * (sizes - 1) // 2).sum()
    assert 0 <= figures['reward']['accuracy'] <= 1
    assert 'win_rate' in figures['dpo']
    role = run.reward_role('reward')
    examined = examine.reward_model(reward_task(run, 'reward'), role, 'test')
    assert sum(row['n'] for row in examined['by_margin']) == figures['reward']['pairs']


def test_dpo_that_nobody_scores(tmp_path, rankings):
    """It needs comparisons alone: no reward model, and no reward for the report."""
    config = runs.config(f'files={rankings}').unlock()
    columns = {'completions': 'ranked'}
    source = {'path': config.data.comparisons, 'columns': columns}
    own = {name: config.data[name] for name in ('name', 'shares', 'text')}
    config.data = ConfigDict({**own, 'comparisons': source})
    config.dpo = configs.dpo_config(
        1e-2, tuning=config.sft.tuning, start='base', steps=2, batch_size=8
    )
    config.stages = ('pretrain', 'dpo')
    workdir = tmp_path / 'run'
    figures = train.run(config.lock(), workdir).figures['dpo']
    assert {'kl', 'response_length', 'prompts'} <= figures.keys()
    scored = {'win_rate', 'judge', 'reward_before', 'reward_after', 'gold_after'}
    assert not scored & figures.keys()
    rows = [row for row in samples.read(workdir / 'dpo') if 'step' not in row]
    assert [*rows[0]] == ['prompt', 'reference', 'response']
    asked = {row.prompt for row in data.load(**config.data).comparisons['test']}
    assert {row['prompt'] for row in rows} <= asked, 'there are no other prompts'
    text = (workdir / 'report.md').read_text()
    assert 'judge not recorded' not in text and 'nan' not in text
    run = opening.open_finished(workdir)
    with jax.set_mesh(run.mesh):
        found = evaluate.evaluate(run)
    assert found['dpo against base']['lengths'].keys() == {'before', 'after'}
    assert 'length_control' not in found['dpo against base']
    assert evaluate.table(found).startswith(f'dpo against base: n={figures["prompts"]}')
