"""The rows of stage kinds: complete, and used as they say."""

import pytest

from perl import config as configs
from perl.config import kinds
from perl.config.kinds import KINDS
from perl.data.records import Dataset
from perl.stages.table import STAGES


def test_every_kind_runs_and_nothing_else_does():
    assert STAGES.keys() == KINDS.keys()


@pytest.mark.parametrize('name', KINDS)
def test_a_row_is_complete(name):
    row = KINDS[name]
    assert row.section().kind == name
    assert bool(row.made_of) == (row.reads is None) == (not row.makes)
    assert set(row.made_of) <= KINDS.keys()
    assert row.made_of or row.makes in kinds.PRODUCTS
    row.check(name, row.section())
    assert set(row.goes_on_from) <= KINDS.keys()
    assert 'start' in row.section() or not row.goes_on_from
    assert 'reward' in row.section() or not row.trained_by_reward
    assert not row.imitates or row.reads(row.section())[0] == 'demonstrations'


@pytest.mark.parametrize('name', [name for name, row in KINDS.items() if row.reads])
def test_what_is_read_is_a_kind_of_record(name):
    records, splits = KINDS[name].reads(KINDS[name].section())
    assert set(splits) <= getattr(Dataset('x'), records).keys()


def test_a_reward_model_reads_what_its_loss_wants():
    pointwise = configs.stage_config('reward', 1.0, loss='pointwise')
    assert kinds.of(pointwise).reads(pointwise)[0] == 'ratings'
    pairs = configs.stage_config('reward', 1.0)
    assert kinds.of(pairs).reads(pairs)[0] == 'comparisons'
