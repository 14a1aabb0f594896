"""What a token may be, and how often it is drawn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.rollout import choosing
from perl.rollout.choosing import Sampling
from perl.system.errors import UserError

LOGITS = np.log(np.array([0.4, 0.05, 0.3, 0.15, 0.1]))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def draws(sampling, n=4000, apart=False):
    """Many draws from one distribution, and their log-probs; by one key, or apart."""
    logits = jnp.broadcast_to(jnp.asarray(LOGITS, jnp.float32), (n, 5))
    key = jax.random.key(0)
    key = choosing.folded(choosing.keys_of(key, n), 7) if apart else key
    return choosing.choose(logits, key, sampling)


@pytest.mark.parametrize('apart', [False, True], ids=['a key', 'a key a row'])
@pytest.mark.parametrize(
    'changes, kept',
    [
        ({}, [0, 1, 2, 3, 4]),
        ({'top_k': 2}, [0, 2]),
        ({'top_k': 1}, [0]),
        ({'top_k': 99}, [0, 1, 2, 3, 4]),
        ({'top_p': 1e-6}, [0]),
        ({'top_p': 0.39}, [0]),
        ({'top_p': 0.41}, [0, 2]),
        ({'top_p': 0.84}, [0, 2, 3]),
        ({'top_p': 0.94}, [0, 2, 3, 4]),
        ({'top_k': 3, 'top_p': 0.75}, [0, 2]),  # top_p of what top_k leaves
        ({'temperature': 0.5, 'top_p': 0.9}, [0, 2, 3]),  # after the temperature
        ({'temperature': 0.0, 'top_k': 3}, [0]),
    ],
    ids=str,
)
def test_draws_follow_the_distribution_that_is_left(changes, kept, apart):
    sampling = dataclasses.replace(Sampling(1, None), **changes)
    tokens, log_probs = draws(sampling, apart=apart)
    heat = np.exp(LOGITS / (sampling.temperature or 1.0))
    left = np.where(np.isin(np.arange(5), kept), heat, 0)
    left = left / left.sum()
    share = np.bincount(tokens, minlength=5) / tokens.size
    assert set(np.flatnonzero(share)) == set(kept)
    assert np.all(np.abs(share - left) < 5 * np.sqrt(left * (1 - left) / tokens.size)
                  + 1e-9)  # fmt: skip
    # of the distribution before the cut, as the trainer computes it
    np.testing.assert_allclose(
        log_probs, np.log(heat / heat.sum())[np.asarray(tokens)], atol=1e-5
    )


@pytest.mark.parametrize('high', [0.0, 0.5, 1 - 2.0**-23])
def test_a_token_of_weight_zero_is_never_drawn(monkeypatch, high):
    """Not by a uniform number next to 1, and though XLA's running sum of a wide row
    may fall; 70,001 tokens make blocks of 512, the last of them padded."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, 70_001)) * 3
    logits[rng.random(logits.shape) < 0.9] = -np.inf
    monkeypatch.setattr(
        choosing.jax.random, 'uniform', lambda key, shape: jnp.full(shape, high)
    )
    drawn = np.asarray(choosing.draw(jax.random.key(0), jnp.asarray(logits)))
    assert np.isfinite(logits[np.arange(64), drawn]).all()


@pytest.mark.parametrize('top_k', [1, 2, 3, 4])
def test_top_k_keeps_k_of_equal_tokens(top_k):
    """Of equal ones those with lower ids."""
    logits = jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0, 1.0]])
    kept = np.isfinite(choosing.cut(logits, Sampling(1, None, top_k=top_k)))
    assert list(kept.sum(1)) == [top_k, top_k]
    np.testing.assert_array_equal(np.flatnonzero(kept[0]), np.arange(top_k))
    assert kept[1, 1]


@pytest.mark.parametrize(
    'size, top_p, stay',
    [(5, 0.5, 3), (5, 0.6, 3), (5, 0.8, 4), (5, 0.81, 5), (5, 1e-9, 1)]
    + [(10, p / 10, p) for p in range(1, 10)]
    + [(7, p / 7, p) for p in range(1, 7)],
)
def test_top_p_keeps_the_smallest_set_of_equal_tokens(size, top_p, stay):
    kept = np.isfinite(
        choosing.cut(jnp.zeros((2, size)), Sampling(1, None, 1.0, 0, top_p))
    )
    np.testing.assert_array_equal(kept, [np.arange(size) < stay] * 2)


def test_what_stays_keeps_its_logit():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 40)), jnp.float32)
    got = np.asarray(choosing.cut(logits, Sampling(1, None, 1.0, 7, 0.8)))
    for row, left in zip(np.asarray(logits), got, strict=True):
        order = np.argsort(-row)[:7]
        chances = np.exp(row[order]) / np.exp(row[order]).sum()
        most = int(np.sum(np.cumsum(chances) - chances < 0.8))
        want = np.full_like(row, -np.inf)
        want[order[:most]] = row[order[:most]]
        np.testing.assert_array_equal(left, want)


@pytest.mark.parametrize(
    'changes', [{'temperature': -1.0}, {'top_k': -1}, {'top_p': 0.0}, {'top_p': 1.5}]
)
def test_numbers_out_of_range_are_refused(changes):
    with pytest.raises(UserError, match=next(iter(changes))):
        Sampling(1, None, **changes)
