"""Lines where a config goes against what is known of LoRA."""

import pytest

from perl import config as configs
from perl.config import advice
from perl.models import architecture

ARCH = architecture.Architecture(32, 16, 2, 4, 2, 4, 24, 64)
LEAVES = architecture.parameters(ARCH)


def lines(path='', rate=1e-3, trainable=1000, tokens=0, **tuning):
    """Of a reward stage beside one that is tuned in full at 1e-4."""
    config = configs.experiment('advised')
    config.model.path = path
    config.reward = configs.stage_config(
        'reward', rate, tuning=configs.tuning_config(**tuning)
    )
    full = configs.tuning_config('full')
    config.reward_full = configs.stage_config('reward', 1e-4, tuning=full)
    config.stages = ('reward', 'reward_full')
    return advice.lora(config, 'reward', LEAVES, trainable, tokens)


def test_ten_times_the_rate_of_full_tuning_is_right():
    assert lines() == [] and lines(name='full') == [] and lines(name='bitfit') == []


@pytest.mark.parametrize('rate, says', [(1e-4, '1 times'), (1e-2, '100 times')])
def test_another_rate_is_named(rate, says):
    (line,) = lines(rate=rate)
    assert f'is {says} that of reward_full' in line and 'about 10 times' in line


def test_attention_alone_is_named_over_a_base_that_is_brought():
    (line,) = lines(path='base')
    assert '--config.reward.tuning.targets="(\'all-linear\',)"' in line
    assert lines(path='base', targets=('all-linear',)) == []
    assert lines(path='base', name='qlora') == []


def test_a_rank_too_low_for_the_text_is_named():
    (line,) = lines(tokens=1001)
    assert '1,000 trained numbers for about 1,001 tokens' in line
    assert 'raise tuning.rank' in line
    assert lines(tokens=1000) == []


def test_weights_in_full_do_not_count_as_factors():
    """They adapt no kernel: the embedding here has 32 * 16 numbers."""
    (line,) = lines(trainable=1512, tokens=1001, modules_to_save=('embed',))
    assert '1,000 trained numbers for about 1,001 tokens' in line
    assert lines(trainable=1513, tokens=1001, modules_to_save=('embed',)) == []
