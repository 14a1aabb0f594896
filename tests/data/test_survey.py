"""What is odd about the labels of records."""

import pytest

from perl.data import Comparison, Demonstration, Rating, survey

TIE, DECIDED = Comparison('p', ('a', 'b'), preference=0.5), Comparison('p', ('a', 'b'))


@pytest.mark.parametrize(
    'rows, counted',
    [
        ([TIE, DECIDED, TIE], {'ties': 2}),
        ([Rating('p', 'a', 0.5), Rating('p', 'a', 0.4)], {'good_ratings': 1}),
        ([Demonstration('p', 'a')], {}),
        (['a prompt'], {}),
        ([], {}),
    ],
    ids=str,
)
def test_labels_are_counted(rows, counted):
    assert survey.labels(rows) == counted


def test_ties_and_labels_on_one_side_are_said():
    assert survey.words({'examples': 3, 'ties': 2}) == 'ties 2'
    for good in (0, 3):
        said = survey.words({'examples': 3, 'good_ratings': good})
        assert said == 'all labels are on one side'
    assert survey.words({'examples': 3, 'good_ratings': 1}) == ''
