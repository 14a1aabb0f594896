"""Plots of reward against KL."""

from perl.report import frontiers


def test_a_negative_kl_is_drawn_left_of_0():
    """An estimate from samples may be below 0; both points are inside of the axes."""
    policy = {
        'label': 'policy',
        'points': [{'kl': 0.04, 'reward': 0.1}, {'kl': 0.5, 'reward': 0.3}],
        'held_out': {'kl': -0.154, 'reward': 0.2},
    }
    found = {'policies': [policy], 'reward': policy['points']}
    [axes, *_] = frontiers.frontier(found).axes
    drawn = [tuple(line.get_xdata()) for line in axes.get_lines()]
    assert (-0.154,) in drawn
    low, high = axes.get_xlim()
    assert low < -0.154 and high > 0.5
    x, y = axes.transAxes.inverted().transform(axes.transData.transform((-0.154, 0.2)))
    zero, _ = axes.transAxes.inverted().transform(axes.transData.transform((0, 0.2)))
    assert 0 < x < zero < 1 and 0 < y < 1
