"""Names and types of settings beside those of their defaults."""

import pytest
from ml_collections import ConfigDict

from perl.system import schema
from perl.system.errors import UserError

DEFAULTS = {
    'steps': 5,
    'rate': 0.5,
    'name': 'x',
    'on': False,
    'stages': ('a', 'b'),
    'parts': (),
    'inner': {'deep': {'size': 1}},
    'any': None,
}


def settings(**changes):
    return ConfigDict({**DEFAULTS, **changes})


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'rate': 1},
        {'stages': ['a']},
        {'stages': ()},
        {'parts': ['x']},
        {'any': [1]},
        {'inner': {'deep': {'size': 3}}},
    ],
    ids=str,
)
def test_what_fits(changes):
    schema.check_names(settings(**changes), DEFAULTS)
    schema.check_types(settings(**changes), DEFAULTS)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'stepz': 1}, r"stepz is unknown; did you mean 'steps'\?"),
        ({'inner': {'deep': {'siez': 1}}}, r"^inner\.deep\.siez is unknown; .*'size'"),
        ({1: 2}, r'^1 is unknown$'),
    ],
    ids=str,
)
def test_unknown_names(changes, says):
    with pytest.raises(UserError, match=says):
        schema.check_names({**DEFAULTS, **changes}, DEFAULTS)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'steps': '5'}, r"^steps: '5' \(str\) is not a whole number, such as 5$"),
        ({'steps': 5.0}, r'steps: 5\.0 \(float\) is not a whole number'),
        ({'steps': True}, r'steps: True \(bool\) is not a whole number'),
        ({'steps': None}, r'steps: None \(NoneType\) is not a whole number'),
        ({'rate': 'fast'}, r'rate: .* is not a number'),
        ({'rate': True}, r'rate: True \(bool\) is not a number'),
        ({'name': 3}, r'name: 3 \(int\) is not text'),
        ({'on': 1}, r'on: 1 \(int\) is not True or False'),
        ({'stages': 'a'}, r"stages: 'a' \(str\) is not a list, such as \('a', 'b'\)"),
        ({'stages': ('a', 5)}, r'stages\[1\]: 5 \(int\) is not text'),
        ({'parts': ({},)}, r'parts\[0\]: a section of settings is not text'),
        ({'steps': {'x': 1}}, r'steps: a section of settings is not a whole number'),
        ({'inner': 3}, r'^inner: 3 is one value, not a section'),
        ({'inner': {'deep': {}}}, r'^inner\.deep\.size is missing'),
    ],
    ids=str,
)
def test_other_types(changes, says):
    with pytest.raises(UserError, match=says):
        schema.check_types({**DEFAULTS, **changes}, DEFAULTS)
