import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from perl.report import accuracies, plots
from perl.report.run_folder import RunFolder
from perl.report.style import STYLE


def folder(results, samples=()):
    config = {'stages': list(results)}
    return RunFolder('run', config, results, {}, {'a': list(samples)}, [], [])


def drawn(figure):
    """The figure with everything in its place."""
    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure).draw()
    return figure


def test_the_legend_of_times_covers_no_label():
    seconds = {'training': 2e5, 'rollout': 1e5, 'update': 3.0}
    figure = drawn(plots.time(folder({'a': {'seconds': seconds}, 'b': {'seconds': 1}})))
    (legend,), (axes,) = figure.legends, figure.axes
    box = legend.get_window_extent()
    labels = [*axes.texts, *axes.get_xticklabels(), axes.xaxis.label]
    assert not any(box.overlaps(text.get_window_extent()) for text in labels)
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in axes.texts)


@pytest.mark.parametrize('size', [1.0, -123456.0, 1e-6])
def test_the_legend_of_rewards_is_inside_the_axes(size):
    rows = [
        {'reward': i * size, 'reward_reference': -i * size, 'gold': i / 9}
        for i in range(9)
    ]
    figure = drawn(plots.histograms(folder({}, rows), 'a'))
    for axes in figure.axes:
        legend, inside = axes.get_legend().get_window_extent(), axes.bbox
        assert inside.x0 - 1 <= legend.x0 and legend.x1 <= inside.x1 + 1
        assert inside.y0 - 1 <= legend.y0 and legend.y1 <= inside.y1 + 1


def test_reward_models_stand_beside_baselines_on_axes_by_kind():
    length = {'accuracy': 0.745, 'auc': 0.6, 'rule': 'longer'}
    pairwise = {'kind': 'reward', 'reward_kind': 'pairwise', 'n': 406}
    pointwise = {'kind': 'reward', 'reward_kind': 'pointwise', 'n': 312}
    pointwise |= {'positives': 261, 'auc': 0.67, 'accuracy': 0.834}
    results = {
        'a': pairwise | {'accuracy': 0.555, 'baselines': {'length': length}},
        'b': pointwise,
    }
    figure = accuracies.accuracies(folder(results))
    pairs, ratings, auc = figure.axes
    titles = [axes.get_title(loc='left') for axes in figure.axes]
    assert titles[:2] == [
        'reward models on comparisons (pairwise), n = 406',
        'reward models on ratings (pointwise), n = 312',
    ]
    names = [tick.get_text() for tick in pairs.get_yticklabels()]
    assert names == ['a (?)', 'length']
    texts = [{text.get_text().strip() for text in axes.texts} for axes in figure.axes]
    assert 'chance, 50 %' in texts[0] and 'majority, 84 %' in texts[1]
    assert 'chance, 0.5' in texts[2] and '0.67' in texts[2]
    for axes in (pairs, ratings, auc):
        low, high = axes.get_xlim()
        assert low < 0.5 and high >= 1


@pytest.mark.parametrize('positives', [312, 250, 0])
def test_what_the_more_frequent_label_reaches_is_written_inside(positives):
    ratings = {'kind': 'reward', 'reward_kind': 'pointwise', 'n': 312}
    ratings |= {'accuracy': 0.9, 'positives': positives}
    figure = drawn(accuracies.accuracies(folder({'b': ratings})))
    (axes,) = figure.axes
    (text,) = [x for x in axes.texts if 'majority' in x.get_text()]
    box = text.get_window_extent()
    assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 + 1


def test_without_data_there_is_no_figure():
    nothing = folder({})
    assert plots.time(nothing) is None and accuracies.accuracies(nothing) is None
    assert plots.histograms(nothing, 'a') is None
    assert plots.reward_kl(nothing, 'a') is None
