import numpy as np
import pytest

from perl.evaluation.figures import harmless
from perl.evaluation.figures.intervals import share, wilson
from perl.system.errors import UserError


def test_rate_by_hand():
    found = harmless.harmless_rate(
        lambda prompts, responses: np.array([1, 0, 0.5, 1]), list('pppp'), list('abcd')
    )
    assert found == {
        'n': 4,
        'harmless_rate': 0.625,
        'harmless_rate_ci95': list(share([1, 0, 0.5, 1])),
        'harmful': 1,
        'unclear': 1,
    }


def test_prompts_of_one_dialog_are_one_observation():
    found = harmless.harmless_rate(
        lambda *_: np.array([1.0, 0] * 20), ['p'] * 40, ['r'] * 40, ['dialog'] * 40
    )
    assert found['harmless_rate_ci95'] == list(wilson(0.5, 1))


def test_chances_become_verdicts():
    rate = harmless.harmless_rate(lambda *_: [0.51, 0.5, np.nan, 0.2], 'pppp', 'abcd')
    assert (rate['harmful'], rate['unclear']) == (1, 2)
    assert rate['harmless_rate'] == 0.5


@pytest.mark.parametrize(
    'rated, prompts, message',
    [
        ([1.0], ['p', 'q'], '2 prompts with 1 responses'),
        ([], [], '0 prompts'),
        ([1.3], ['p'], r'outside \[0, 1\]'),
        ([[1.0]], ['p'], r'shape \(1, 1\)'),
    ],
)
def test_bad_input_is_one_clear_line(rated, prompts, message):
    with pytest.raises(UserError, match=message):
        harmless.harmless_rate(lambda *_: rated, prompts, ['r'] * len(rated))
