"""Every number has a range, and no number beyond it passes."""

import math

import pytest

from perl import config as configs
from perl.config import kinds, ranges, rules
from perl.system.errors import UserError


def numbers():
    """(path, range) of every number of the default configs."""
    whole = configs.experiment('x')
    shared = {
        name: section
        for name, section in whole.items()
        if name not in (*whole.stages, 'data')
    }
    yield from ranges.numbers(shared)
    for name, kind in kinds.KINDS.items():
        yield from ranges.numbers(kind.section(), 'stage', name)


@pytest.mark.parametrize(
    'path, value, range', [pytest.param(*row, id=row[0]) for row in numbers()]
)
def test_every_number_has_a_range(path, value, range):
    assert range is not None, f'give {path} a range in perl/config/ranges.py'
    ranges.within(path, value, range)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(UserError, match=f'{path}: {bad} must be finite'):
            ranges.within(path, bad, range)
    for bad in (1e30, -1e30, 10**20, -(10**20), 10**5000):
        with pytest.raises(UserError, match=f'{path}: .* must be') as caught:
            ranges.within(path, bad, range)
        assert len(str(caught.value)) < 200


def test_no_range_is_left_over():
    """A range of a name that no config has is a misspelling."""
    paths = [row[0].split('.') for row in numbers()]
    used = {(row[-2] if len(row) > 1 else '', row[-1]) for row in paths}
    used |= {('stage', name) for _, name in used}
    declared = {(t, name) for t, names in ranges.RANGES.items() for name in names}
    assert declared <= used


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'seed': 2**32}, r'seed: 4294967296 must be 0 or more and less than'),
        ({'seed': 2**63}, r'seed: 9223372036854775808 must be 0 or more'),
        ({'seed': 10**400}, r'seed: 1000'),
        ({'sft.steps': 2**31}, r'sft\.steps: 2147483648 must be .* at most 1e9'),
        ({'sft.steps': 10**400}, r'sft\.steps: 1000\d+ must be .* at most 1e9'),
        (
            {'sft.optimizer.learning_rate': math.inf},
            r'learning_rate: inf must be finite',
        ),
        ({'policy.kl_coefficient': 1e30}, r'kl_coefficient: 1e\+30 must be in \[0, 1e'),
        ({'policy.entropy_coefficient': -1e30}, r'entropy_coefficient: -1e\+30 must'),
        ({'policy.clip': 1e30}, r'policy\.clip: 1e\+30 must be .* at most 1e6'),
        ({'policy.temperature': 1e-30}, r'temperature: 1e-30 must be in \[0\.001, 1'),
        ({'evaluation.temperature': 1e-30}, r'temperature: 1e-30 must be 0, or in'),
        ({'sft.batch_size': 10**9}, r'sft\.batch_size: 10+ must be .* at most 1e6'),
        ({'lengths.prompt': 10**9}, r'lengths\.prompt: 10+ must be .* at most 1e7'),
        ({'lengths.response': 10**9}, r'lengths\.response: 10+ must be .* at most'),
        ({'sft.optimizer.learning_rate': 1e30}, r'learning_rate: 1e\+30 must be .* at'),
        ({'sft.optimizer.learning_rate': -0.0}, r'learning_rate: -0\.0 must be great'),
        ({'model.width': 0}, r'model\.width: 0 must be greater than 0'),
        ({'model.heads': 3}, r'model: heads=3 is not a multiple of kv_heads=4'),
        ({'tokenizer.size': -1}, r'tokenizer\.size: -1 must be greater than 0'),
        ({'mesh.data': 0}, r'mesh\.data: 0 must be -1, or 1 or more'),
        ({'mesh.tensor': -1}, r'mesh\.tensor: -1 must be 1 or more'),
        ({'policy.tuning.rank': 0}, r'policy\.tuning\.rank: 0 must be greater than 0'),
    ],
    ids=str,
)
def test_numbers_out_of_range(changes, says):
    config = configs.experiment('x')
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=says):
        rules.validate(config)


@pytest.mark.parametrize(
    'changes',
    [
        {'sft.steps': 10**8, 'sft.save_every': 10**9, 'sft.eval_every': 10**9},
        {'sft.batch_size': 2**16, 'sft.optimizer.learning_rate': 1.0},
        {'policy.clip': 1e5, 'policy.value_clip': 1e5, 'policy.temperature': 0.01},
        {'evaluation.temperature': -0.0, 'policy.clip_rewards': 1e5},
        {'sft.optimizer.eps': 1e-30, 'sft.optimizer.learning_rate': 1e-30},
        {'model.max_length': 10**7, 'lengths.prompt': 2 * 10**6},
        {'evaluation.prompts': 10**7, 'policy.kl_horizon': 1e9},
    ],
    ids=str,
)
def test_what_a_researcher_may_use_passes(changes):
    config = configs.experiment('x')
    config.update_from_flattened_dict(changes)
    rules.validate(config)


@pytest.mark.parametrize('value', [True, '3', 3.0, None, [3]], ids=repr)
def test_another_type_is_no_whole_number(value):
    config = configs.experiment('x')
    with config.sft.ignore_type():
        config.sft.steps = value
    with pytest.raises(UserError, match=r'sft\.steps: .* is not a whole number'):
        rules.validate(config)


def test_the_largest_seed_passes():
    config = configs.experiment('x')
    config.seed = 2**32 - 1
    rules.validate(config)
