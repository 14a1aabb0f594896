import pytest

from perl.report.summary import one_line

COST = {'seconds': 75.0, 'step_bytes': 2**30}


@pytest.mark.parametrize(
    ('figures', 'line'),
    [
        (
            {'val_loss': 0.39567, **COST},
            'val loss 0.396, 1 min 15 s, 1.00 GiB',
        ),
        (
            {'accuracy': 0.801, 'ci95': {'accuracy': [0.748, 0.845]}, 'n': 244},
            'accuracy 80 % [75, 84]',
        ),
        (
            {
                **{'accuracy': 0.727, 'ci95': {'accuracy': [0.40, 0.90]}, 'n': 11},
                'best_baseline': {
                    **{'name': 'bag_of_words', 'figure': 'accuracy', 'baseline': 1.0},
                    **{'difference': -0.273, 'difference_ci95': [-0.609, 0.138]},
                },
                **{'val_loss': 0.672, 'seconds': 13.2},
            },
            'val loss 0.672, accuracy 70 % [40, 90] of 11 held out (lower but not '
            'clearly worse than the best baseline, bag of words: 100 %), 13.2 s',
        ),
        (
            {'auc': 0.6745, 'ci95': {'auc': [0.59, 0.756]}},
            'AUC 0.67 [0.59, 0.76]',
        ),
        (
            {
                'gold_before': 0.5268,
                'gold_after': 0.7972,
                'gold_ci95': [0.7738, 0.8192],
                'kl': 4.0727,
                'win_rate': 0.8145,
                'win_rate_ci95': [0.7623, 0.8573],
                'judge': 'gold',
            },
            'gold reward 0.53 → 0.80 [0.77, 0.82], KL 4.1 nats, '
            'win rate 81 % [76, 86] (judged by the gold reward)',
        ),
        (
            {'val_loss': 0.7, 'accuracy': None, 'n': 0, 'labelled_ties': 12},
            'val loss 0.7, no accuracy: all 12 held out are ties',
        ),
        ({}, ''),
    ],
)
def test_the_figures_of_a_stage_in_one_line(figures, line):
    assert one_line(figures) == line
