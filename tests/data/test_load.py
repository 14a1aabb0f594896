"""Data sets by name."""

import pytest

from perl import data
from perl.system.errors import UserError


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean 'reservations'"):
        data.load('reservation')


def test_unknown_option():
    with pytest.raises(UserError, match=r"no option 'prompt'.*'prompts'"):
        data.load('reservations', prompt=3)


def test_missing_option():
    with pytest.raises(UserError, match="needs the option 'root'"):
        data.load('taskmaster_coffee')


@pytest.mark.parametrize(
    ('name', 'options', 'says'),
    [
        ('reservations', {'text': 'many'}, r"data\.text: 'many' \(str\) is not"),
        ('reservations', {'text': 2.5}, r'data\.text: 2\.5 \(float\) is not'),
        ('reservations', {'flip': None}, r'data\.flip: None .* is not a number'),
        ('taskmaster_coffee', {'root': 5}, r'data\.root: 5 \(int\) is not text'),
        ('shp', {'hub': 'no'}, r"data\.hub: 'no' \(str\) is not True or False"),
        ('shp', {'domains': 'askscience'}, r'data\.domains: .* is not a list'),
        ('shp', {'domains': (1,)}, r'data\.domains\[0\]: 1 \(int\) is not text'),
        ('files', {'shares': 8}, r'data\.shares: 8 \(int\) is not a list'),
    ],
    ids=str,
)
def test_options_of_another_type(name, options, says):
    with pytest.raises(UserError, match=says):
        data.load(name, **options)
