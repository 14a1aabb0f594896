import pytest

from perl.report import values


@pytest.mark.parametrize('value', [None, True, 'x', [1], float('nan'), float('inf')])
def test_what_is_no_number(value):
    assert not values.is_number(value)
    assert not values.is_number(10**400), 'more than a float holds'
    assert values.is_number(0) and values.is_number(-1.5)


@pytest.mark.parametrize(
    ('figures', 'limits'),
    [
        ({'auc_ci95': [0.1, 0.2]}, (0.1, 0.2)),
        ({'ci95': {'auc': [0.1, 0.2]}}, (0.1, 0.2)),
        ({'ci95': [0.1, 0.2]}, None),  # of the accuracy
        ({'auc_ci95': [None, 1]}, None),
        ({'auc_ci95': 3}, None),
        ({}, None),
    ],
)
def test_where_an_interval_stands(figures, limits):
    assert values.interval(figures, 'auc') == limits
    assert values.interval({'ci95': [0.1, 0.2]}, 'accuracy') == (0.1, 0.2)


def test_a_series_has_the_rows_with_both():
    rows = [{'step': 1, 'kl': 2.0}, {'step': 2}, {'kl': 1.0}, {'step': 4, 'kl': None}]
    assert values.series(rows, 'kl') == ([1], [2.0])
