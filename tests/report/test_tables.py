import pytest

from perl.report import tables
from perl.report.run_folder import RunFolder

BASELINES = {
    'chance': {'rule': 'a toss of a coin', 'accuracy': 0.5, 'n': 406},
    'length': {
        'rule': 'the longer response is better',
        'accuracy': 0.745,
        'n': 406,
        'ci95': {'accuracy': [0.70, 0.79]},
    },
}
PAIRWISE = {
    'reward_kind': 'pairwise',
    'tuning': 'lora r=8',
    'n': 406,
    'clusters': 85,
    'labelled_ties': 85,
    'accuracy': 0.567,
    'ci95': {'accuracy': [0.494, 0.635]},
    'baselines': BASELINES,
    'best_baseline': {
        'name': 'length',
        'figure': 'accuracy',
        'difference': -0.178,
        'difference_ci95': [-0.25, -0.11],
    },
    'step_bytes': 3 * 2**29,
    'peak_bytes': 2**30,
    'trainable': 14_097,
    'trainable_share': 0.0352,
}
POINTWISE = {
    'reward_kind': 'pointwise',
    'n': 312,
    'positives': 256,
    'accuracy': 0.834,
    'auc': 0.674,
    'ci95': {'accuracy': [0.79, 0.87], 'auc': [0.59, 0.756]},
    'best_baseline': {
        'name': 'bag_of_words',
        'figure': 'auc',
        'difference': 0.02,
        'difference_ci95': [-0.07, 0.11],
    },
}
POLICY = {
    'kind': 'policy',
    'algorithm': 'ppo',
    'tuning': 'full',
    'prompts': 200,
    'clusters': 40,
    'reward_before': -0.0854,
    'reward_after': 1.243,
    'reward_ci95': [1.1505, 1.3241],
    'kl': 13.25,
    'win_rate': 0.81,
    'win_rate_ci95': [0.75, 0.86],
    'judge': 'rm',
    'judge_trained_the_policy': True,
    'no_eos': 0.83,
    'n': 200,
}


def folder(sittings=(), **results):
    config = {name: {'kind': 'policy', 'reward': 'rm'} for name in ('policy',)}
    kinds = {name: {'kind': 'reward'} | x for name, x in results.items()}
    return RunFolder('run', config, kinds, {}, {}, list(sittings), [])


def cells(table):
    """The cells of each figure, by its name."""
    return {name: list(row) for name, *row in table.across().rows}


def test_comparisons_and_ratings_have_tables_of_their_own():
    run = folder(a=PAIRWISE, b=POINTWISE, c=PAIRWISE)
    pairwise, pointwise = tables.reward_models(run)
    assert pairwise.title == 'Reward models on comparisons (pairwise)'
    assert [row[0] for row in pairwise.rows] == ['a', 'c']
    assert pointwise.title == 'Reward models on ratings (pointwise)'
    shown = cells(pointwise)
    assert shown['accuracy [95 %]'] == ['83 % [79, 87]']
    assert shown['baseline: majority'] == ['82 %']
    assert shown['AUC [95 %]'] == ['0.67 [0.59, 0.76]']
    lead = 'AUC 0.02 [-0.07, 0.11], not clearly better'
    assert shown['difference to it [95 %]'] == [lead]


def test_a_reward_model_stands_beside_its_baselines():
    (table,) = tables.reward_models(folder(a=PAIRWISE))
    shown = cells(table)
    assert shown['accuracy [95 %]'] == ['57 % [49, 64]']
    assert shown['baseline: chance (a toss of a coin)'] == ['50 %']
    rule = 'baseline: length (the longer response is better)'
    assert shown[rule] == ['74 % [70, 79]']
    assert shown['best baseline'] == ['length']
    assert shown['difference to it [95 %]'] == ['-18 % [-25, -11], worse']
    assert shown['labelled ties, left out'] == ['85']
    assert shown['independent groups (prompts, dialogs)'] == ['85']


@pytest.mark.parametrize(
    ('sittings', 'name'),
    [
        ([{'host': 'a'}], 'largest memory in use during the stage'),
        ([], 'largest memory in use since the process began'),
    ],
)
def test_memory_is_named_for_what_it_is(sittings, name):
    (table,) = tables.reward_models(folder(sittings, a=PAIRWISE))
    assert cells(table)[name] == ['1.00 GiB']
    assert cells(table)['memory of one step, as it was compiled'] == ['1.50 GiB']


def test_what_a_policy_gained_and_who_says_so():
    shown = cells(tables.policies(folder(policy=POLICY)))
    assert shown['reward before → after [95 %]'] == ['-0.09 → 1.24 [1.15, 1.32]']
    assert shown['KL to the reference, nats'] == ['13']
    assert shown['win rate [95 %] and who judged'] == [
        '81 % [75, 86], **judged by the reward that trained it (rm)**'
    ]
    assert shown['responses without an end, cut at the limit'] == ['83 %']
    assert shown['held-out prompts (test split)'] == ['200']
    assert shown['independent groups (prompts, dialogs)'] == ['40']


def test_odd_figures_are_left_out():
    odd = {'accuracy': None, 'ci95': [None, 1], 'baselines': 3, 'best_baseline': None}
    (table,) = tables.reward_models(folder(a=odd))
    assert 'accuracy' not in table.markdown()
    policy = {'kind': 'policy', 'kl': 'none', 'win_rate': None, 'judge': 'gold'}
    assert 'judged' not in tables.policies(folder(policy=policy)).markdown()


def test_a_stage_with_an_odd_name_breaks_no_table():
    (table,) = tables.reward_models(folder(**{'a|b\n# c': PAIRWISE}))
    assert '| a\\|b \\# c |' in table.across().markdown()


def test_flat_names():
    assert tables.flat({'a': {'b': [1, 2]}, 'c': 'x'}) == {
        'a.b.0': 1,
        'a.b.1': 2,
        'c': 'x',
    }
