"""Functions and exact rewards are tried on two rows, so that a fault is found early."""

import dataclasses

import numpy as np
import pytest
import runs

from perl import data
from perl.runs.trial import try_rewards
from perl.system.errors import UserError


@pytest.fixture
def brief(tmp_path, monkeypatch):
    """The name of a function in the working directory that likes short responses."""
    (tmp_path / 'brevity_on_trial.py').write_text(
        'def brief(prompts, responses):\n    return [-len(x) for x in responses]\n'
    )
    monkeypatch.chdir(tmp_path)
    return 'brevity_on_trial:brief'


def policy(**changes):
    return runs.config('', **{f'policy.{k}': x for k, x in changes.items()})


def test_two_rows_are_tried_before_training(brief):
    dataset = data.load(**runs.DATA)
    [two] = try_rewards(policy(reward=brief), dataset).values()
    assert len(two) == 2 and all(x < 0 for x in two)
    [two] = try_rewards(policy(reward='gold'), dataset).values()
    assert all(np.isfinite(two))
    assert try_rewards(policy(), dataset) == {}
    with pytest.raises(UserError, match=r'^policy\.reward: .* has no exact reward'):
        try_rewards(policy(reward='gold'), dataclasses.replace(dataset, gold=None))


def test_a_dataset_without_texts_is_enough(brief):
    dataset = data.load(**runs.DATA)
    bare = type(dataset)('bare', prompts={'train': ['Why?'], 'val': [], 'test': []})
    assert try_rewards(policy(reward=brief), bare) == {'policy': [-4.0, -3.0]}
