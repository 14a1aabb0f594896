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
            {  # what it has to beat is told in a line of its own
                'accuracy': 0.801,
                'ci95': {'accuracy': [0.748, 0.845]},
                'n': 244,
                'best_baseline': {'figure': 'accuracy', 'model': 0.801},
            },
            'accuracy 80 % [75, 84]',
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
            'true reward 0.53 → 0.80 [0.77, 0.82], KL 4.1 nats, '
            'win rate 81 % [76, 86] (judged by the exact reward (gold))',
        ),
        ({}, ''),
    ],
)
def test_the_figures_of_a_stage_in_one_line(figures, line):
    assert one_line(figures) == line
