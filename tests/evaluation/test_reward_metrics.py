"""Figures of rewards of rankings of different lengths, and of ratings."""

import numpy as np
import tiny
from reward_tasks import RANKINGS, ROLE, a_task, encoded

from perl.data import Rating
from perl.data.examples import Examples
from perl.evaluation import reward_metrics
from perl.evaluation.reward_task import RewardTask
from perl.judges import panel
from perl.runs.roles import Role
from perl.stages import reward


def test_rewards_are_normalised_over_the_completions_that_are_there():
    data = encoded(RANKINGS)
    scores = a_task().scores(ROLE, data)
    shift, scale = reward_metrics.normalisation(a_task(), ROLE)
    there = scores[np.isfinite(scores)]
    assert there.size == 9
    np.testing.assert_allclose([shift, scale], [there.mean(), there.std()], rtol=1e-5)


def test_the_held_out_loss_is_that_of_the_training():
    """Of completions that are there, an example counting one however many it has."""
    data = encoded(RANKINGS)
    scores = a_task().scores(ROLE, data)
    losses, right = [], []
    for row in scores.astype(float):
        row = row[np.isfinite(row)]
        leads = np.array([x - y for i, x in enumerate(row) for y in row[i + 1 :]])
        losses.append(np.log1p(np.exp(-leads)).mean())
        right.append(np.mean(leads > 0))
    loss = reward.on_rewards(a_task().section)
    figures = reward_metrics.held_out(a_task(), ROLE, data, loss)
    assert figures.keys() == {'val_loss', 'val_accuracy'}
    np.testing.assert_allclose(figures['val_loss'], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(figures['val_accuracy'], np.mean(right), rtol=1e-6)


def test_the_held_out_loss_of_ratings_is_their_cross_entropy():
    ratings = [Rating('ab', 'c', 1.0), Rating('b', 'dd', 0.0), Rating('b', 'e', 1.0)]
    data = encoded(ratings)
    task = a_task(loss='pointwise')
    scores = task.scores(ROLE, data)[:, 0].astype(float)
    signs = np.array([-1, 1, -1])
    figures = reward_metrics.held_out(task, ROLE, data, reward.on_rewards(task.section))
    want = np.log1p(np.exp(signs * scores)).mean()
    np.testing.assert_allclose(figures['val_loss'], want, rtol=1e-5)


def test_what_a_panel_says_of_ratings_is_no_logit():
    # z-scores: their 0 is the mean reward, and not where the model says 1/2
    labels, scores = np.array([0.0, 1, 1, 1]), np.array([-1.5, -0.5, 0.5, 1.5])
    data = Examples(
        [np.arange(2)] * 4, [(np.arange(2),)] * 4, labels, rows=np.arange(4)
    )
    ratings = [Rating(f'prompt {i}', 'same', x) for i, x in enumerate(labels)]

    class Known(RewardTask):
        def scores(self, model, data, size=0):
            return scores[:, None]

    splits = dict.fromkeys(('train', 'val', 'test'), ratings)
    fields = vars(a_task(loss='pointwise')) | {'raw': splits}
    task = Known(**fields | {'encode': lambda records, name='': data})
    delta = {**tiny.adapter(), 'head': tiny.head()}
    role = Role(tiny.weights(), 'base1', delta, tiny.LORA)
    alone = reward_metrics.evaluate(task, role, 'test')
    assert (alone['accuracy'], alone['threshold']) == (0.75, -1.0)
    together = reward_metrics.evaluate(task, panel.build([role]), 'test')
    assert (together['accuracy'], together['auc']) == (1.0, 1.0)
    assert together['reward_kind'] == 'pointwise'
    assert together['baselines']['majority']['accuracy'] == 0.75
    assert together['best_baseline']['model'] == 1.0
