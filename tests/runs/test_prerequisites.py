"""Stages that a config names and that will not be there: found before any training."""

import pytest
import runs

from perl import config as configs
from perl import train
from perl.check import check
from perl.runs import prerequisites
from perl.system.errors import UserError

MISSING = [
    (
        ('pretrain', 'reward'),
        {},
        r'reward\.start: the stage sft is neither an earlier one of stages \(pretrain, '
        r'reward\) nor finished in \S+; add it with '
        r'--config\.stages=pretrain,sft,reward, or set reward\.start=base$',
    ),
    (
        ('pretrain', 'sft', 'policy'),
        {},
        r'policy\.reward: the stage reward is neither .* --config\.stages=pretrain,sft,'
        r'reward,policy, or name another reward \(gold, module:function or a folder\)$',
    ),
    (
        ('pretrain', 'sft', 'dpo'),
        {'dpo.reward': 'reward'},
        r"dpo\.reward: the stage reward is neither .* or set dpo\.reward='', so",
    ),
    (
        ('pretrain', 'policy'),
        {'policy.reward': 'gold', 'policy.start': 'base'},
        r'policy\.value_start: the stage sft is neither .*policy\.value_start=base$',
    ),
    (
        ('pretrain', 'policy'),
        {
            **{'policy.reward': 'model', 'policy.start': 'base'},
            **{'policy.judge.model': 'sft', 'policy.value_start': 'base'},
        },
        r'policy\.judge\.model: the stage sft is neither .* or name another$',
    ),
]


def config(stages, changes=None):
    made = runs.config().unlock()
    made.dpo = configs.dpo_config(1e-3, tuning=made.sft.tuning, steps=2)
    made.update_from_flattened_dict({'stages': stages, **(changes or {})})
    return made.lock()


@pytest.mark.parametrize(('stages', 'changes', 'says'), MISSING)
@pytest.mark.parametrize('command', [check, train.run])
def test_a_stage_that_will_not_be_there(stages, changes, says, command, tmp_path):
    """The check and the training say the same, and nothing is trained."""
    with pytest.raises(UserError, match=says):
        command(config(stages, changes), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_what_is_named_but_not_read():
    """RLOO trains no value, so it does not matter where one would start."""
    changes = {
        **{'policy.algorithm': 'rloo', 'policy.samples': 4, 'policy.start': 'base'},
        'policy.reward': 'gold',
    }
    check(config(('pretrain', 'policy'), changes), 'nowhere')


def test_a_stage_of_an_earlier_sitting(finished, tmp_path):
    """It may be left out of stages where it is finished in the run folder."""
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain', 'sft', 'reward'])
    check(config(('policy',)), workdir)
    figures = runs.run(config(('policy',), {'policy.steps': 2}), workdir)
    assert figures['policy']['steps'] == 2


def test_stages_of_one_command(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain', 'sft'])
    prerequisites.check(config(('pretrain', 'sft', 'reward')), workdir, ['reward'])
    for command in (check, train.run):
        with pytest.raises(UserError) as caught:
            command(runs.config(), workdir, ['policy'])
        assert str(caught.value) == (
            f'policy.reward: the stage reward is not finished in {workdir} and this '
            'command does not run it; run the stage reward first: '
            '--stages=reward,policy'
        )
