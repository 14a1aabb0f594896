"""Fields of an architecture, their checks and their JSON."""

import dataclasses
import json

import pytest
import tiny

from perl.models.architecture import Architecture
from perl.models.scaling import Scaling
from perl.system.errors import UserError


def test_patterns_and_scalings_survive_json():
    scaling = Scaling('longrope', 2.0, 16, short=(1.0, 2.0), long=(3.0, 4.0))
    arch = tiny.arch(windows=(3, 0), unrotated=(True, False), rope_scaling=scaling)
    text = json.dumps(dataclasses.asdict(arch))
    again = Architecture(**json.loads(text))
    assert again == arch and hash(again) == hash(arch)


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'windows': (3, -1)}, r'model\.windows: .* must be whole numbers'),
        ({'windows': 3}, r'model\.windows: 3 must be whole numbers'),
        ({'unrotated': (1,)}, r'model\.unrotated: .* must be values true or false'),
        ({'rope_scaling': 2.0}, r'model\.rope_scaling: 2.0 must be a scaling'),
        ({'rope_width': 6}, 'head_width=4 must be an even number of at least 6'),
        ({'norm': 'batch'}, r"model\.norm: 'batch' is not one of rms, rms_offset"),
        ({'activation': 'mish'}, r'model\.activation: .* is not one of silu'),
        ({'logit_cap': -1.0}, r'model\.logit_cap: -1.0 must be a finite number'),
        ({'parallel': 1}, r'model\.parallel: 1 must be true or false'),
    ],
)
def test_a_field_that_cannot_be_is_named(changes, says):
    with pytest.raises(UserError, match=says):
        tiny.arch(**changes)


def test_heads_of_any_width_go_with_learned_positions():
    assert tiny.arch(positions='learned', head_width=5).head_width == 5
    assert tiny.arch(head_width=20, rope_width=5).turned == 6
