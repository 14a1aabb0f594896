import pytest

from perl.report import reward_figures

LENGTH = {'rule': 'the longer response is better', 'accuracy': 0.745, 'n': 10}


@pytest.mark.parametrize(
    ('figures', 'kind'),
    [
        ({'reward_kind': 'pointwise'}, 'pointwise'),
        ({'positives': 3, 'n': 4}, 'pointwise'),
        ({'pairs': 4}, 'pairwise'),
        ({'calibration': {'pairs': True}}, 'pairwise'),
        ({'calibration': {'pairs': False}}, 'pointwise'),
        ({'accuracy': 0.5}, ''),
    ],
)
def test_the_kind_of_a_reward_model(figures, kind):
    assert reward_figures.kind(figures) == kind


def test_models_of_a_kind_stand_together():
    models = {'a': {'pairs': 1}, 'b': {'positives': 1}, 'c': {'pairs': 2}}
    groups = reward_figures.by_kind(models)
    assert {kind: list(x) for kind, x in groups.items()} == {
        'pairwise': ['a', 'c'],
        'pointwise': ['b'],
    }


def test_chance_is_the_more_frequent_label_of_ratings():
    ratings = {'positives': 50, 'n': 312}
    assert reward_figures.chance(ratings) == (262 / 312, 'majority')
    assert reward_figures.chance(ratings, 'auc') == (0.5, 'chance')
    measured = ratings | {'baselines': {'majority': {'accuracy': 0.836}}}
    assert reward_figures.chance(measured) == (0.836, 'majority')
    assert reward_figures.chance({'pairs': 3}) == (0.5, 'chance')
    assert reward_figures.chance({'accuracy': 0.5}) is None


def test_baselines_of_one_data_set_are_shown_once():
    models = [{'baselines': {'length': LENGTH}}, {'baselines': {'length': LENGTH}}]
    assert reward_figures.shared_baselines(models) == {'length': LENGTH}
    other = {'baselines': {'length': LENGTH | {'accuracy': 0.5}}}
    names = list(reward_figures.shared_baselines([*models, other]))
    assert names == ['length', 'length (other data)']
