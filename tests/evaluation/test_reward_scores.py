"""Rewards of examples with different numbers of completions."""

import types

import numpy as np
import tiny

from perl import config as configs
from perl import sharding
from perl.data import Comparison, Rating, encode
from perl.data.tokenizers import Bytes
from perl.evaluation import reward_scores
from perl.runs.roles import Role
from perl.stages import reward

ARCH = tiny.arch(vocabulary=259)
ROLE = Role(
    tiny.weights(ARCH), 'base1', {**tiny.adapter(ARCH), 'head': tiny.head()}, tiny.LORA
)
RANKINGS = [
    Comparison('ab', ('c', 'dd', 'e')),
    Comparison('b', ('ee', 'f')),
    Comparison('b', ('ee', 'f', 'g', 'hh')),
]


def run(share=False):
    config = configs.experiment('ranked')
    config.reward.share_prompts = share
    config.reward.batch_size = 2
    return types.SimpleNamespace(
        config=config, arch=ARCH, mesh=sharding.make_mesh(), multiple=8
    )


def test_scores_of_rankings_of_different_lengths():
    data, _ = encode(RANKINGS, Bytes(), 8, 8)
    scores = reward_scores.scores(run(), 'reward', ROLE, data)
    assert scores.shape == (3, 4) and scores.dtype == np.float32
    for record, row in zip(RANKINGS, scores, strict=True):
        alone, _ = encode([record], Bytes(), 8, 8)
        want = reward_scores.scores(run(), 'reward', ROLE, alone)[0]
        np.testing.assert_allclose(row[: len(want)], want, atol=1e-5)
        assert np.isnan(row[len(want) :]).all() and np.isfinite(want).all()
    shared = reward_scores.scores(run(share=True), 'reward', ROLE, data)
    np.testing.assert_allclose(shared, scores, atol=1e-5)


def test_rewards_are_normalised_over_the_completions_that_are_there():
    data, _ = encode(RANKINGS, Bytes(), 8, 8)
    scores = reward_scores.scores(run(), 'reward', ROLE, data)
    now = run()
    now.dataset = types.SimpleNamespace(comparisons={'val': RANKINGS})
    now.encoded = lambda records, name='': encode(records, Bytes(), 8, 8)[0]
    shift, scale = reward_scores.normalisation(now, 'reward', ROLE)
    there = scores[np.isfinite(scores)]
    assert there.size == 9
    np.testing.assert_allclose([shift, scale], [there.mean(), there.std()], rtol=1e-5)


def test_the_held_out_loss_is_that_of_the_training():
    """Of completions that are there, an example counting one however many it has."""
    data, _ = encode(RANKINGS, Bytes(), 8, 8)
    scores = reward_scores.scores(run(), 'reward', ROLE, data)
    losses, right = [], []
    for row in scores.astype(float):
        row = row[np.isfinite(row)]
        leads = np.array([x - y for i, x in enumerate(row) for y in row[i + 1 :]])
        losses.append(np.log1p(np.exp(-leads)).mean())
        right.append(np.mean(leads > 0))
    loss = reward.on_rewards(run().config.reward)
    figures = reward_scores.held_out(run(), 'reward', ROLE, data, loss)
    assert figures.keys() == {'val_loss', 'val_accuracy'}
    np.testing.assert_allclose(figures['val_loss'], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(figures['val_accuracy'], np.mean(right), rtol=1e-6)


def test_the_held_out_loss_of_ratings_is_their_cross_entropy():
    ratings = [Rating('ab', 'c', 1.0), Rating('b', 'dd', 0.0), Rating('b', 'e', 1.0)]
    data, _ = encode(ratings, Bytes(), 8, 8)
    now = run()
    now.config.reward.loss = 'pointwise'
    scores = reward_scores.scores(now, 'reward', ROLE, data)[:, 0].astype(float)
    signs = np.array([-1, 1, -1])
    figures = reward_scores.held_out(
        now, 'reward', ROLE, data, reward.on_rewards(now.config.reward)
    )
    want = np.log1p(np.exp(signs * scores)).mean()
    np.testing.assert_allclose(figures['val_loss'], want, rtol=1e-5)
