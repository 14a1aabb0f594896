"""Advantages within groups, against loops over the group."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.losses import group_advantages

SCORES = np.random.default_rng(0).normal(size=12)
EVERY = (
    group_advantages.leave_one_out,
    group_advantages.centred,
    group_advantages.normalised,
)


@pytest.mark.parametrize('size', [2, 3, 4, 6, 12])
def test_leave_one_out_equals_a_loop(size):
    want = []
    for group in SCORES.reshape(-1, size):
        want += [x - np.delete(group, i).mean() for i, x in enumerate(group)]
    got = group_advantages.leave_one_out(jnp.asarray(SCORES), size)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_two_in_a_group_are_their_difference():
    got = group_advantages.leave_one_out(jnp.array([3.0, 1.0, -2.0, 5.0]), 2)
    np.testing.assert_allclose(got, [2, -2, -7, 7])


@pytest.mark.parametrize('size', [2, 4])
def test_leave_one_out_is_the_centred_score_scaled(size):
    grouped = SCORES.reshape(-1, size)
    centred = (grouped - grouped.mean(1, keepdims=True)).ravel()
    found = group_advantages.centred(jnp.asarray(SCORES), size)
    np.testing.assert_allclose(found, centred, atol=1e-12)
    got = group_advantages.leave_one_out(jnp.asarray(SCORES), size)
    np.testing.assert_allclose(got, centred * size / (size - 1), atol=1e-12)


@pytest.mark.parametrize('size', [2, 3, 6])
def test_normalised_equals_numpy(size):
    want = [
        (x - group.mean()) / (group.std() + 1e-4)
        for group in SCORES.reshape(-1, size)
        for x in group
    ]
    got = group_advantages.normalised(jnp.asarray(SCORES), size)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_equal_scores_teach_nothing():
    scores = jnp.full(8, 0.7)
    for advantage in EVERY:
        np.testing.assert_allclose(advantage(scores, 4), 0, atol=1e-6)


@pytest.mark.parametrize('score', [3.3, 10.1, 123.4, 1000.1])
def test_equal_scores_of_any_size_are_0_exactly(score):
    scores = jnp.full(8, score, jnp.float32)
    assert not group_advantages.normalised(scores, 8).any()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6), st.floats(-3, 3))
def test_a_shift_of_all_scores_changes_nothing(scores, shift):
    scores = jnp.asarray(scores, jnp.float64)
    moved = group_advantages.leave_one_out(scores + shift, 3)
    np.testing.assert_allclose(
        moved, group_advantages.leave_one_out(scores, 3), atol=1e-9
    )


def test_the_best_is_one_of_each_group():
    scores = jnp.array([1.0, 3.0, 2.0, 4.0, 4.0, 0.0])
    np.testing.assert_array_equal(group_advantages.best(scores, 3), [0, 1, 0, 1, 0, 0])
