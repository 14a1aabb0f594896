"""The names of stages, after `--stages`; those of a config are in `test_rules.py`."""

import pytest
import runs

from perl import check, train
from perl.config import stage_names
from perl.system.errors import UserError

NONE = (
    '--stages: it names no stage; write --stages=pretrain,sft, for example, to run '
    'some of pretrain, sft, reward, policy, or leave the flag out to run all of them'
)


def test_none_that_is_chosen():
    with pytest.raises(UserError, match=f'^{NONE}$'):
        stage_names.check_chosen(runs.config(), [])
    for names in (None, ['sft'], runs.config().stages):
        stage_names.check_chosen(runs.config(), names)


@pytest.mark.parametrize('function', [check.check, train.run])
def test_nothing_is_run_or_checked(tmp_path, function):
    with pytest.raises(UserError, match=r'^--stages: it names no stage'):
        function(runs.config(), tmp_path / 'run', [])
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('rewrd', r"'rewrd' is not among .*\(pretrain, sft, .*did you mean 'reward'"),
        ('', "'' is not among the stages"),
    ],
)
def test_one_that_does_not_run(name, words):
    with pytest.raises(UserError, match=f'^--stages: {words}'):
        stage_names.check_chosen(runs.config(), [name])
