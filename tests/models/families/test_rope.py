"""Rotary positions in configs, in both spellings."""

import math

import pytest
import tiny

from perl.models.families.config import Config
from perl.models.families.rope import read_rope, write_rope
from perl.models.scaling import Scaling
from perl.system.errors import UserError

SIZES = {'head_width': 8, 'max_length': 64}
LLAMA3 = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0}
LLAMA3 |= {'high_freq_factor': 4.0, 'original_max_position_embeddings': 16}


def read(values, **options):
    config = Config(values)
    fields = read_rope(config, SIZES, **options)
    config.check_used()
    return fields


def test_both_spellings_say_the_same():
    older = read({'rope_theta': 500.0, 'rope_scaling': LLAMA3})
    newer = read({'rope_parameters': {**LLAMA3, 'rope_theta': 500.0}})
    assert older == newer
    assert older['rope_scaling'] == Scaling('llama3', 8.0, 16, low=1.0, high=4.0)
    assert older['rope_theta'] == 500.0 and older['rope_width'] == 0
    plain = {'rope_theta': 500.0, 'rope_type': 'default'}
    assert read({'rope_parameters': plain}) == read({'rope_theta': 500.0})


def test_the_window_before_is_that_of_the_model_where_none_is_said():
    values = {k: v for k, v in LLAMA3.items() if not k.startswith('original')}
    assert read({'rope_scaling': values})['rope_scaling'].original_length == 64


def test_longrope_ends_at_the_window_before():
    values = {'type': 'su', 'short_factor': [1, 2, 3, 4], 'long_factor': [5, 6, 7, 8]}
    said = {'rope_scaling': values, 'original_max_position_embeddings': 16}
    fields = read(said, renamed=('su',))
    root = math.sqrt(1 + math.log(4) / math.log(16))
    assert fields['max_length'] == 16
    assert fields['rope_scaling'] == Scaling(
        'longrope', 4.0, 16, magnitude=root, short=(1, 2, 3, 4), long=(5, 6, 7, 8)
    )


@pytest.mark.parametrize(
    'scaling, says',
    [
        ({'rope_type': 'dynamic', 'factor': 2.0}, "rope_scaling is 'dynamic'"),
        ({'rope_type': 'linear'}, 'it has no factor'),
        ({'rope_type': 'linear', 'factor': 2.0, 'mrope': 1}, 'mrope'),
        ({'rope_type': 'llama3', 'factor': 2.0}, 'it has no low_freq_factor'),
        ({'rope_type': 'linear', 'factor': -1.0}, 'must be above 0'),
        ({'full_attention': {}, 'sliding_attention': {}}, 'full_attention'),
    ],
)
def test_what_is_not_supported_is_named(scaling, says):
    with pytest.raises(UserError, match=says):
        read({'rope_scaling': scaling})


@pytest.mark.parametrize('width', [1, 2, 3, 5, 6, 7, 20])
def test_a_share_of_a_head_gives_the_same_width(width):
    keys = 'rotary_emb_base', 'rotary_pct'
    arch = tiny.arch(head_width=20, rope_width=width % 20)
    fields = read_rope(Config(write_rope(arch, keys)), {**SIZES, 'head_width': 20},
                       keys=keys)  # fmt: skip
    assert fields['rope_width'] == width % 20
