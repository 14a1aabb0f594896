"""Flags that are lists of stages."""

import pytest

from perl.system import flag_words
from perl.system.errors import UserError


@pytest.mark.parametrize(
    ('argument', 'wanted'),
    [
        ('--config.stages=sft,reward', "--config.stages=('sft', 'reward')"),
        ('-config.mine.of=my-sft,b_2', "-config.mine.of=('my-sft', 'b_2')"),
        ("--config.stages=('sft',)", "--config.stages=('sft',)"),
        ('--config.name=a,b', '--config.name=a,b'),
        ('--stages=sft,reward', '--stages=sft,reward'),
    ],
)
def test_names_with_commas_become_a_tuple(argument, wanted):
    assert flag_words.as_tuple(argument) == wanted


@pytest.mark.parametrize('names', [',sft', 'sft,', 'sft,,reward', ','])
def test_an_empty_name(names):
    says = f"^--config.stages: '{names}' has an empty name; write names with one comma"
    with pytest.raises(UserError, match=says):
        flag_words.as_tuple(f'--config.stages={names}')
