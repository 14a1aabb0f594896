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
        ({'sft.steps': 2**31}, r'sft\.steps: 2147483648 must be 2147483647 or less'),
        ({'sft.steps': 10**400}, r'sft\.steps: 1000\d+ must be 2147483647 or less'),
        (
            {'sft.optimizer.learning_rate': math.inf},
            r'learning_rate: inf must be finite',
        ),
        ({'policy.kl_coefficient': 1e30}, r'kl_coefficient: 1e\+30 must be in \[0, 1e'),
        ({'policy.entropy_coefficient': -1e30}, r'entropy_coefficient: -1e\+30 must'),
        ({'model.width': 0}, r'model\.width: 0 must be greater than 0'),
        ({'model.heads': 3}, r'model: heads=3 is no multiple of kv_heads=4'),
        ({'tokenizer.size': -1}, r'tokenizer\.size: -1 must be greater than 0'),
        ({'mesh.data': 0}, r'mesh\.data: 0 must be 1 or more, or -1'),
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


def test_the_largest_seed_passes():
    config = configs.experiment('x')
    config.seed = 2**32 - 1
    rules.validate(config)
