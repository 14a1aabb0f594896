"""A reward of one's own: the blocks of `docs/adding_a_reward.md`, as they stand.

The working directory is a fresh folder with the file of the page, in which
`configs/quickstart.py` is the small experiment of the tests.
"""

import functools
import json
import os

import numpy as np
import pages
import pytest
import runs
from commands import CONFIG, ROOT, command

from perl.system import metrics

FUNCTION, CHECK, TRAIN, ELSEWHERE, PYTHON = pages.blocks('adding_a_reward.md')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working directory of somebody who adds a reward."""
    folder = tmp_path_factory.mktemp('mine')
    (folder / FUNCTION.title).write_text(FUNCTION.text)
    (folder / 'configs').mkdir()
    (folder / 'configs' / 'quickstart.py').symlink_to(CONFIG)
    return folder


def follow(folder, block):
    """What the commands of a block print."""
    printed = []
    for module, *args in block.commands:
        ended = command(module, *args, before=functools.partial(os.chdir, folder))
        assert ended.code == 0 and ended.err == '', ended
        printed.append(ended.out)
    return printed


@pytest.fixture(scope='module')
def trained(folder, finished):
    """The run folder after training; the stages before the policy are given."""
    runs.copy(finished, folder / 'runs' / 'brief', ['pretrain', 'sft', 'reward'])
    follow(folder, TRAIN)
    return folder / 'runs' / 'brief'


def test_it_is_checked_on_two_rows(folder):
    [printed] = follow(folder, CHECK)
    assert 'policy: my_rewards:brevity rewards the first two rows with -0.' in printed


def test_ppo_learns_from_it(trained):
    rows = metrics.read(trained / 'policy')
    figures = runs.results(trained)['policy']
    assert figures['algorithm'] == 'ppo' and len(rows) == figures['steps'] > 0
    assert all(row['reward'] < 0 and row['adapter_active'] > 0 for row in rows[:1])
    assert all(0 <= row['no_verdict'] < 0.5 for row in rows)
    for line in (trained / 'policy' / 'samples.jsonl').read_text().splitlines():
        row = json.loads(line)
        assert row['reward'] == (-len(row['response']) / 100 or None)


def test_it_judges_elsewhere(trained, folder):
    evaluated, labelled = follow(folder, ELSEWHERE)
    found = json.loads((trained / 'evaluation.json').read_text())
    assert found['policy against sft']['judge'] == 'my_rewards:brevity'
    assert 'policy against sft' in evaluated and 'labelled' in labelled
    rows = [json.loads(x) for x in (folder / 'labels.jsonl').read_text().splitlines()]
    assert rows
    assert all(len(row['chosen']) <= len(row['rejected']) for row in rows)


def test_it_is_a_function_of_texts(folder, monkeypatch):
    monkeypatch.chdir(folder)
    values = {}
    exec(PYTHON.text, values)
    np.testing.assert_allclose(values['rewards'], [-0.05])


def test_the_package_is_as_it_was():
    """Nothing of the page is a file of the package."""
    assert not (ROOT / FUNCTION.title).exists() and CONFIG.parent.name == 'tests'
