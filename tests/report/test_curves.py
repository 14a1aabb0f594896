import numpy as np
import pytest

from perl.report import curves
from perl.report.run_folder import RunFolder


def folder(kind, rows, results=None, **section):
    config = {'a': {'kind': kind, **section}}
    results = {'a': {'kind': kind, **(results or {})}}
    return RunFolder('run', config, results, {'a': rows}, {}, [], [])


ROWS = [
    {'step': step, 'loss': 0.7 - step / 20, 'accuracy': 0.6, 'val_accuracy': 0.8}
    for step in range(1, 5)
]


def lines(axes):
    """The points of each line by its name."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.get_lines()
    }


def test_training_figures_are_of_the_model_before_the_update():
    loss, accuracy = curves.supervised(folder('reward', ROWS), 'a').axes
    assert lines(loss)['training'][0] == [0, 1, 2, 3]
    assert lines(accuracy)['held out'][0] == [1, 2, 3, 4]
    assert loss.get_xlim()[0] == 0


def test_the_axis_of_a_loss_shows_its_changes():
    """From 3.34 to 3.29 it is no flat line: the axis does not begin at 0."""
    rows = [{'step': step, 'loss': 3.34 - step / 100} for step in range(1, 6)]
    [loss] = curves.supervised(folder('sft', rows), 'a').axes
    low, high = loss.get_ylim()
    assert 3.28 < low < 3.29 and 3.33 < high < 3.34


def test_a_held_out_curve_begins_before_the_first_step():
    rows = [ROWS[0] | {'start_val_accuracy': 0.5}, *ROWS[1:]]
    _, accuracy = curves.supervised(folder('reward', rows), 'a').axes
    assert lines(accuracy)['held out'] == ([0, 1, 2, 3, 4], [0.5] + [0.8] * 4)


@pytest.mark.parametrize(
    ('kind', 'section', 'results', 'chance'),
    [
        ('reward', {'loss': 'bradley_terry'}, {}, [np.log(2), 0.5]),
        ('dpo', {'loss': 'dpo'}, {}, [np.log(2), 0.5]),
        ('dpo', {'loss': 'ipo'}, {}, [None, 0.5]),
        ('reward', {'loss': 'pointwise'}, {'positives': 5, 'n': 20}, [None, 0.75]),
        ('reward', {'loss': 'pointwise'}, {}, [None, None]),
        ('sft', {}, {}, [None, None]),
    ],
)
def test_a_line_at_chance(kind, section, results, chance):
    figure = curves.supervised(folder(kind, ROWS, results, **section), 'a')
    drawn = [lines(axes).get('chance', (0, [None]))[1][0] for axes in figure.axes]
    assert drawn == pytest.approx(chance)


def test_a_policy_has_held_out_points_at_both_ends():
    rows = [{'step': i, 'kl': i - 1.0, 'no_eos': 0.01} for i in range(1, 4)]
    figures = {'kl': 2.5, 'no_eos': 0.0}
    kl, no_eos = curves.policy(folder('policy', rows, figures), 'a').axes
    assert lines(kl)['training'] == ([0, 1, 2], [0.0, 1.0, 2.0])
    assert lines(kl)['held out'] == ([0, 3], [0.0, 2.5])
    assert no_eos.get_ylim() == (0, curves.LEAST), 'one response in 100 looks small'
    assert kl.get_ylim()[0] == 0


def test_a_negative_estimate_of_kl_is_not_cut_off():
    rows = [{'step': 1, 'kl': -0.5}, {'step': 2, 'kl': 1.0}]
    (axes,) = curves.policy(folder('policy', rows), 'a').axes
    assert axes.get_ylim()[0] < -0.5


@pytest.mark.parametrize('kind', ['dpo', 'policy'])
def test_no_point_lies_on_the_upper_edge(kind):
    names = {'dpo': ['loss', 'val_loss'], 'policy': ['entropy', 'no_eos']}[kind]
    rows = [{'step': i, **dict.fromkeys(names, 0.7)} for i in range(1, 4)]
    draw = curves.supervised if kind == 'dpo' else curves.policy
    for axes in draw(folder(kind, rows), 'a').axes:
        highest = max(max(line.get_ydata()) for line in axes.get_lines())
        assert axes.get_ylim()[1] >= 1.04 * highest


def test_without_data_there_is_no_figure():
    assert curves.supervised(folder('sft', []), 'a') is None
    assert curves.policy(folder('policy', [{'step': 1, 'x': 1}]), 'a') is None
