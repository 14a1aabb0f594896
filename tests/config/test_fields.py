"""What the fields of one stage must be."""

import pytest
import runs

from perl import config as configs
from perl.config import rules
from perl.system.errors import UserError


def test_a_policy_has_no_dropout():
    """Before any update the ratio must be 1: with dropout tokens would be clipped."""
    rules.validate(runs.config(**{'sft.tuning.dropout': 0.1}))
    says = r'policy\.tuning\.dropout: 0\.1 must be 0, because .* ratio would not be 1'
    with pytest.raises(UserError, match=says):
        rules.validate(runs.config(**{'policy.tuning.dropout': 0.1}))


def test_dpo_has_no_dropout():
    config = runs.config().unlock()
    config.stages = ('pretrain', 'sft', 'reward', 'dpo')
    config.dpo = configs.dpo_config(1e-3, tuning=config.sft.tuning)
    rules.validate(config)
    config.dpo.tuning = configs.tuning_config(rank=2, alpha=4.0, dropout=0.1)
    with pytest.raises(UserError, match=r'dpo\.tuning\.dropout: 0\.1 .* ln 2'):
        rules.validate(config)
