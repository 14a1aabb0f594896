"""Which modules the config of an adapter says to have factors."""

import json

import pytest

from perl.adapters.peft.settings import read_settings
from perl.system.errors import UserError

PLAIN = {'peft_type': 'LORA', 'r': 4, 'lora_alpha': 8}


def of(folder, **settings):
    (folder / 'adapter_config.json').write_text(json.dumps({**PLAIN, **settings}))
    return read_settings(folder)


@pytest.mark.parametrize(
    ('settings', 'wanted'),
    [
        ({'target_modules': ['q_proj']}, True),
        ({'target_modules': ['model.layers.1.self_attn.q_proj']}, True),
        ({'target_modules': ['proj']}, False),
        ({'target_modules': r'.*\.(q|v)_proj'}, True),
        ({'target_modules': r'layers\.1'}, False),
        ({'target_modules': 'all-linear'}, False),
        ({'target_modules': ['q_proj'], 'layers_to_transform': [1]}, False),
        ({'target_modules': ['q_proj'], 'exclude_modules': ['q_proj']}, False),
        ({'target_modules': ['q_proj'], 'modules_to_save': ['q_proj']}, False),
        ({'target_modules': ['q_proj'], 'modules_to_save': ['score']}, True),
    ],
)
def test_the_targets_that_are_sure(settings, wanted, tmp_path):
    name = 'model.layers.1.self_attn.q_proj'
    assert of(tmp_path, **settings).wants(name) == wanted


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        ({'bias': 'some'}, "bias is 'some'; it must be one of none, all, lora_only"),
        ({'lora_dropout': 1.5}, 'lora_dropout is 1.5; it must be at least 0'),
        ({'target_modules': '('}, r"target_modules: '\(' is not a regular expression"),
        ({'rank_pattern': {'(': 3}}, r"rank_pattern: '\(' is not a regular"),
    ],
)
def test_settings_without_a_meaning(settings, said, tmp_path):
    with pytest.raises(UserError, match=said):
        of(tmp_path, **settings)
