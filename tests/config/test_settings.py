"""A loaded config, in a notebook: unknown names are one line, the rest is as before."""

import pytest

from perl import config as configs
from perl.config.settings import locked
from perl.system.errors import UserError


@pytest.fixture
def config():
    return locked(configs.experiment('x'))


@pytest.mark.parametrize(
    ('section', 'name', 'near'),
    [
        ('reward', 'lerning_rate', "did you mean 'optimizer.learning_rate'?"),
        ('reward', 'stepz', "did you mean 'steps'?"),
        ('reward.optimizer', 'lerning_rate', "did you mean 'learning_rate'?"),
        ('policy.judge', 'mdel', "did you mean 'model'?"),
        ('mesh', 'zebra', '; choose one of data, fsdp, tensor'),
    ],
)
def test_an_unknown_setting_is_one_line(config, section, name, near):
    for assign in (setattr, lambda x, name, value: x.__setitem__(name, value)):
        with pytest.raises(UserError) as caught:
            assign(config[section], name, 1)
        assert str(caught.value).startswith(f'{name} is unknown')
        assert near in str(caught.value) and '\n' not in str(caught.value)


def test_an_unknown_section_says_how_to_add_one(config):
    with pytest.raises(UserError, match=r"polciy is unknown .*'policy'.*unlock\(\)"):
        config.polciy = configs.policy_config(1e-3)
    with config.unlocked():
        config.dpo = configs.dpo_config(1e-3)
    assert config.dpo.kind == 'dpo'


def test_known_settings_change_and_keep_their_types(config):
    config.reward.steps = 7
    config.update_from_flattened_dict({'reward.optimizer.learning_rate': 2.0})
    assert (config.reward.steps, config.reward.optimizer.learning_rate) == (7, 2.0)
    with pytest.raises(UserError, match='steps'):
        config.reward.steps = 'many'


def test_a_shared_section_stays_shared():
    config = configs.experiment('x')
    config.sft.tuning = config.reward.tuning
    made = locked(config)
    assert made.sft.tuning is made.reward.tuning
    assert made.to_json_best_effort() == config.to_json_best_effort(), 'in order'


def test_a_section_from_elsewhere_takes_the_place_of_one(config):
    config.unlock()
    config.reward = configs.stage_config('reward', 5.0, steps=3)
    config.sft.tuning = configs.tuning_config('lora', rank=2)
    config.lock()
    assert (config.reward.steps, config.sft.tuning.rank) == (3, 2)
    with pytest.raises(UserError, match='rnk is unknown'):
        config.sft.tuning.rnk = 4
    plain = configs.experiment('y')
    plain.sft = config.sft
    assert plain.sft.tuning.rank == 2


def test_equal_to_a_config_with_the_same_values(config):
    plain = configs.experiment('x').lock()
    assert config == plain and plain == config
    plain.unlock().seed = 3
    assert config != plain.lock() and config != plain.unlock()


@pytest.mark.parametrize(
    ('name', 'value', 'says'),
    [
        ('clip', True, 'clip: True is a bool, and the setting is a float; write one'),
        ('steps', 3.0, 'steps: 3.0 is a float, and the setting is a int; write one'),
        ('steps', '3', "steps: '3' is a str, and the setting is a int; write one"),
        ('whiten_rewards', 'no', "'no' is a str, and the setting is a bool"),
    ],
)
def test_a_value_of_another_type_is_one_line(name, value, says):
    config = locked(configs.experiment('typed'))
    with pytest.raises(UserError, match=says):
        config.policy[name] = value
    with pytest.raises(UserError, match=says):
        setattr(config.policy, name, value)
    config.policy.clip = 1  # a whole number is a float too
