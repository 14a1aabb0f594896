"""Frequencies against the definitions, by hand."""

import math

import numpy as np
import pytest

from perl.models.scaling import Scaling, frequencies
from perl.system.errors import UserError

PLAIN = 100.0 ** -(np.arange(4) / 4)  # 1, 0.316, 0.1, 0.032


def test_plain_frequencies():
    np.testing.assert_allclose(frequencies(100.0, 8, None), PLAIN, rtol=1e-6)
    want = 100.0 ** -(np.arange(3) * 2 / 5)  # an odd width turns one component more
    np.testing.assert_allclose(frequencies(100.0, 5, None), want, rtol=1e-6)


def test_linear_divides_all():
    got = frequencies(100.0, 8, Scaling('linear', 4.0))
    np.testing.assert_allclose(got, PLAIN / 4, rtol=1e-6)


def test_llama3_keeps_high_ones_divides_low_ones_and_interpolates_between():
    # turns within 60 tokens: 9.5, 3.02, 0.95, 0.30
    got = frequencies(100.0, 8, Scaling('llama3', 8.0, 60))
    share = (60 * PLAIN[1] / (2 * math.pi) - 1) / 3
    middle = PLAIN[1] * (share + (1 - share) / 8)
    want = [PLAIN[0], middle, PLAIN[2] / 8, PLAIN[3] / 8]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize('truncate', [True, False])
def test_yarn_interpolates_between_two_components(truncate):
    scaling = Scaling('yarn', 4.0, 60, slow=0.5, fast=8.0, truncate=truncate)

    def component(turns):
        return 8 * math.log(60 / (turns * 2 * math.pi)) / (2 * math.log(100.0))

    first, last = component(8.0), component(0.5)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 7)
    divided = np.clip((np.arange(4) - first) / (last - first), 0, 1)
    want = PLAIN * (1 - divided) + PLAIN / 4 * divided
    got = frequencies(100.0, 8, scaling)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert 0 < divided.max() <= 1


def test_longrope_divides_each_by_its_short_factor():
    scaling = Scaling('longrope', 2.0, 16, short=(1, 2, 3, 4), long=(9, 9, 9, 9))
    got = frequencies(100.0, 8, scaling)
    np.testing.assert_allclose(got, PLAIN / [1, 2, 3, 4], rtol=1e-6)
    with pytest.raises(UserError, match='4 short factors for 3 frequencies'):
        frequencies(100.0, 6, scaling)


@pytest.mark.parametrize(
    'values, says',
    [
        (('dynamic', 2.0), 'dynamic.* is not one of linear'),
        (('linear', 0.0), 'must be above 0'),
        (('llama3', 2.0), 'llama3 needs original_length'),
        (('llama3', 2.0, 8, 4.0, 4.0), 'low 4.0 must be below high 4.0'),
        (('llama3', 2.0, 8, 'x'), "low 'x' is not a finite number"),
        (('yarn', 2.0, 'x'), "original_length 'x' is not"),
        (('yarn', float('nan'), 8), 'factor nan is not'),
        (('yarn', 2.0, 8, 1.0, 4.0, True), 'slow True is not'),
    ],
)
def test_a_scaling_that_cannot_be(values, says):
    with pytest.raises(UserError, match=says):
        Scaling(*values)


@pytest.mark.parametrize('short, says', [('ab', "'a' is not"), ([1, 0], 'above 0')])
def test_factors_that_cannot_be(short, says):
    with pytest.raises(UserError, match=f'short .*{says}'):
        Scaling('longrope', 2.0, 8, short=short)
