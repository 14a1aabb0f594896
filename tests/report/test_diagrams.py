import itertools

import pytest

from perl.report import bucket_panels, diagrams


def row(group, n=10, accuracy=0.6):
    return {'group': group, 'n': n, 'accuracy': accuracy, 'ci95': [0.5, 0.7]}


def model(*groupings, **more):
    groups = {name: [row(group) for group in names] for name, names in groupings}
    return {'by_margin': [row(0)], 'by_group': groups, **more}


LENGTHS = ('better response is', ['longer', 'shorter'])
LABELS = ('label', ['good', 'bad'])
TAGS = ('batch', ['$x_{$', '_b', 'c\nd'])
GROUPINGS = [(), (LENGTHS,), (LABELS,), (LENGTHS, TAGS), (('batch', ['z']),)]


@pytest.mark.parametrize('groupings', list(itertools.product(GROUPINGS, repeat=2)))
@pytest.mark.parametrize('kinds', [(None, None), ('pairwise', 'pointwise')])
def test_any_mixture_of_groupings_is_drawn(groupings, kinds):
    models = {
        f'model{i}': model(*names, reward_kind=kind)
        for i, (names, kind) in enumerate(zip(groupings, kinds, strict=True))
    }
    figure = diagrams.buckets(models)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = {name for names in groupings for name, _ in names}
    apart = sum(map(len, groupings)) + 2
    assert len(shown) == (apart if kinds[0] else len(titles) + 1)


def test_a_pairwise_and_a_pointwise_model_have_panels_of_their_own():
    models = {
        'reward': model(LENGTHS, reward_kind='pairwise'),
        'point': model(LABELS, reward_kind='pointwise', positives=262, n=312),
    }
    figure = diagrams.buckets(models)
    panels = {axes.get_title(loc='left'): axes for axes in figure.axes}
    assert panels.keys() == {
        'comparisons: how sure the model is',
        'comparisons: better response is',
        'ratings: how sure the model is',
        'ratings: label',
    }
    _, names = panels['ratings: how sure the model is'].get_legend_handles_labels()
    assert names == ['point', 'majority']
    _, names = panels['ratings: label'].get_legend_handles_labels()
    assert names == ['point'], 'no majority among the ratings of one label'
    ticks = panels['comparisons: better response is'].get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ['longer, n=10', 'shorter, n=10']


def test_the_axis_begins_below_chance_and_the_lowest_interval():
    ((panel, _),) = bucket_panels.lines({'a': model(LENGTHS, reward_kind='pairwise')})
    assert panel.least == pytest.approx(0.48)
    low = model(LENGTHS, reward_kind='pairwise')
    low['by_margin'][0]['ci95'] = [0.1, 0.9]
    ((panel, _),) = bucket_panels.lines({'a': low})
    assert panel.least == pytest.approx(0.08)


def test_the_largest_groups_are_shown():
    groups = [row(f'g{i}', n=i) for i in range(1, 31)]
    figures = {'by_margin': [row(0)], 'by_group': {'batch': groups}}
    ((_, panel),) = bucket_panels.lines({'a': figures})
    assert panel.groups == [f'g{i}' for i in range(15, 31)]


def test_without_data_there_is_no_figure():
    assert diagrams.buckets({}) is None and diagrams.reliability({}) is None
    assert diagrams.buckets({'a': {'by_margin': [], 'by_group': {}}}) is None
