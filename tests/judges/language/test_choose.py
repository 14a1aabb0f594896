"""From the probabilities of options to preferences and rewards."""

import numpy as np

from perl.judges.language import choose
from perl.judges.language.questions import HARMLESS, PAIRWISE, SCORE


def test_questions_and_their_values():
    asked = []

    def fixed(template, questions):
        asked.extend(questions)
        count = len(template.options)
        return np.tile(np.arange(1, count + 1) / sum(range(1, count + 1)), (2, 1))

    prefer = choose.preference(fixed, PAIRWISE['generic'])
    np.testing.assert_allclose(prefer(['p', 'q'], ['a', 'b'], ['c', 'd']), 1 / 3)
    assert asked[1] == {'prompt': 'q', 'first': 'b', 'second': 'd'}
    scores = choose.reward(fixed, SCORE)(['p', 'q'], ['a', 'b'])
    # p(i) = i / 55: the expected score is 385 / 55 = 7, which is 1/3 of the way up
    np.testing.assert_allclose(scores, (7 - 5.5) / 4.5)
    np.testing.assert_allclose(choose.reward(fixed, HARMLESS)('pq', 'ab'), 1 / 3)
    assert asked[-1] == {'prompt': 'q', 'response': 'b'}
    assert choose.reward(fixed, SCORE)([], []).shape == (0,)
