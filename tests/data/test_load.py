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
