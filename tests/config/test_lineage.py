"""What stages may be made of."""

import pytest

from perl import config as configs
from perl.config import kinds, lineage, rules
from perl.system.errors import UserError


def experiment(**changes):
    """Reward models from a common probe, averages, an ensemble, and two policies."""
    config = configs.experiment('made')
    rate = 1e-3
    made = {
        'reward_a': configs.stage_config('reward', rate, start='reward'),
        'reward_b': configs.stage_config('reward', rate, start='reward'),
        'alone': configs.stage_config('reward', rate, start='sft'),
        'warm': configs.average_config(('reward_a', 'reward_b')),
        'judges': configs.ensemble_config(('warm', 'reward_a', 'alone')),
        'dpo': configs.dpo_config(rate),
        'warp': configs.average_config(('policy', 'dpo'), method='slerp'),
    }
    for name, stage in made.items():
        config[name] = stage
    config.stages = (*config.stages, *made)
    config.policy.value_start = 'sft'
    config.update_from_flattened_dict(changes)
    return config


def test_the_rules_are_kept():
    rules.validate(experiment())


def test_who_trained_a_policy():
    config = experiment()
    assert lineage.trained_by(config, 'policy') == ('reward', '')
    assert lineage.trained_by(config, 'warp') == ('reward', '')
    assert lineage.trained_by(config, 'dpo') == lineage.trained_by(config, 'sft')
    assert lineage.trained_by(config, 'dpo') == ('', '')
    config.policy.reward, config.policy.judge.model = 'endpoint', 'a model'
    assert lineage.trained_by(config, 'policy') == ('endpoint', 'a model')


def test_where_stages_come_from():
    config = experiment()
    assert lineage.origin(config, 'judges') == 'reward_a'
    assert lineage.origin(config, 'sft') == 'sft'
    made = {name: lineage.makes(config, name) for name in config.stages}
    assert [name for name, sort in made.items() if sort == 'policy'] == [
        'policy', 'dpo', 'warp'
    ]  # fmt: skip
    assert made['judges'] == made['warm'] == 'reward' and made['sft'] == 'sft'
    assert kinds.of(config.warp).recipe(config.warp) == 'slerp of policy, dpo'
    trains = [
        name
        for name in config.stages
        if not kinds.of(config[name]).trains(config[name])
    ]
    assert trains == ['warm', 'judges', 'warp']


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'reward_a.start': 'reward_b'}, r"reward_a.start: 'reward_b' is neither base"),
        ({'reward_a.start': 'rewad'}, "did you mean 'reward'"),
        ({'policy.start': 'reward'}, "policy.start: 'reward' is neither base nor sft"),
        ({'sft.start': 'sfft'}, r"folder of an adapter; did you mean 'sft'\?"),
        ({'stages': ('sft', 'pretrain')}, 'comes first; write pretrain,sft$'),
        ({'policy.reward': 'seed'}, "'seed' is neither an earlier stage that makes"),
        ({'warm.of': ()}, 'warm.of: name the earlier stages'),
        (
            {'warm.of': ('judges', 'alone')},
            "warm.of: 'judges' is not a stage before it",
        ),
        ({'warm.of': ('sft',)}, 'sft is of kind sft; give stages of kind reward'),
        ({'judges.of': ('policy',)}, 'policy is of kind policy'),
        ({'warp.of': ('policy', 'warm')}, 'some are reward models and some policies'),
        ({'warm.of': ('reward_a', 'alone')}, r'start differs .*only weights with one'),
        ({'warm.of': ('alone',)}, 'alone starts from sft with a random head'),
        ({'alone.loss': 'pointwise'}, r'judges.of: loss differs .*alone has pointwise'),
        ({'warm.method': 'slrp'}, "'slrp' is not one of mean.*did you mean 'slerp'"),
        ({'warp.of': ('policy',)}, 'slerp needs two stages, and 1 are given'),
        ({'warp.method': 'interpolate_to_start'}, 'needs one stage, and 2 are given'),
        ({'warm.weight': 1.5}, r'warm.weight: 1.5 must be in \[0, 1\]'),
        ({'warm.rank': -1}, 'warm.rank: -1 must be 0 or more'),
        ({'dpo.start': 'base'}, r'warp.of: start differs \(policy has sft'),
        ({'judges.combine': 'median'}, "'median' is not one of mean, min"),
        ({'judges.deviations': -1.0}, 'judges.deviations: -1.0 must be 0 or more'),
        ({'judges.steps': 0}, 'judges.steps: 0 must be greater than 0'),
        (
            {'reward.label_smoothing': 0.5},
            r'smoothing: 0.5 must be in \[0',
        ),
        ({'reward.centre': 'prompts'}, "'prompts' is not one of responses"),
        (
            {'reward.loss': 'pointwise', 'reward.label_smoothing': 0.1},
            'it is for comparisons',
        ),
        (
            {
                'policy.reward': 'judges',
                'policy.value_start': 'reward',
                'stages': ('sft', 'reward', 'alone', 'judges', 'policy'),
                'judges.of': ('reward', 'alone'),
            },
            'policy.value_start: a value starts from one reward model',
        ),
        ({'policy.reward': 'rewad'}, r"'rewad' is neither .*did you mean 'reward'"),
        ({'policy.reward': 'judges'}, "'judges' is neither an earlier stage"),
        ({'policy.reward': 'sft'}, "'sft' is neither an earlier stage"),
        ({'policy.reward': ''}, "policy.reward: '' is neither"),
        (
            {'dpo.reward': 'gald'},
            "did you mean 'gold'. Choose one of reward, .*, gold$",
        ),
        ({'stages': ('policy', 'sft')}, 'policy.start: sft comes after policy'),
        ({'policy.tuning.rank': 3}, 'policy.tuning.rank: goes on from the adapter'),
    ],
)
def test_a_rule_that_is_broken_is_named(changes, says):
    with pytest.raises(UserError, match=says):
        rules.validate(experiment(**changes))
