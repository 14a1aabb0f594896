"""One step: in parts or whole, on any tree, as the key says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from perl.adapters import tree
from perl.adapters.tunings import LoraTuning
from perl.models import heads
from perl.stages import language, reward
from perl.training.step import Average, init, over_steps, step, values


def demonstrations():
    """Eight rows, whose parts have unequal numbers of targets."""
    tokens, positions = tiny.rows((8, 8))
    length = jnp.array([8, 3, 8, 2, 6, 3, 8, 4])[:, None]
    return {
        'tokens': tokens,
        'positions': positions,
        'segments': jnp.where(positions < length, 0, -1),
        'completion': (positions > 0) & (positions < length),
    }


def comparisons():
    """Eight comparisons of three completions: `[8, 3, T]`."""
    tokens, positions = tiny.rows((8, 3, 6))
    ends = jnp.asarray(np.random.default_rng(0).integers(2, 6, (8, 3, 1)))
    return {
        'tokens': tokens,
        'positions': positions,
        'segments': jnp.where(positions <= ends, 0, -1),
        'ends': ends,
        'labels': jnp.ones(8),
    }


CASES = {
    'language': (language.loss, demonstrations, {}),
    'comparisons': (reward.bradley_terry, comparisons, {'head': tiny.head()}),
    'ratings': (
        reward.pointwise,
        lambda: {k: x[:, :1] if x.ndim > 1 else x for k, x in comparisons().items()},
        {'head': tiny.head()},
    ),
}


@functools.cache
def updated(case, parts):
    loss, batch, more = CASES[case]
    optimizer = optax.sgd(0.5)
    run = functools.partial(
        step,
        loss=functools.partial(loss, arch=tiny.ARCH),
        optimizer=optimizer,
        micro_batches=parts,
    )
    state = init({**tiny.adapter(), **more}, optimizer)
    return jax.jit(run)(state, tiny.weights(), batch())


@pytest.mark.parametrize(
    ('case', 'parts'), [*itertools.product(CASES, [2]), (next(iter(CASES)), 8)]
)
def test_parts_equal_the_whole(case, parts):
    got, want = updated(case, parts), updated(case, 1)
    tiny.close(got, want, atol=1e-5)
    moved = jax.tree.map(lambda x, y: np.abs(x - y).max(), want[0]['trainable'],
                         {**tiny.adapter(), **CASES[case][2]})  # fmt: skip
    assert max(jax.tree.leaves(moved)) > 1e-3
    assert want[1]['loss'].value > 0 and got[0]['step'] == 1


@pytest.mark.parametrize('neighbours, pairs', [(1, 0), (2, 4), (4, 4)])
def test_neighbours_stay_together_in_parts(neighbours, pairs):
    """How many of rows 2i and 2i + 1 follow each other in one of two parts."""

    def loss(trainable, frozen, batch, key):
        found = jnp.sum(batch['x'][1::2] - batch['x'][::2] == 1, dtype=jnp.float32)
        parts = {'pairs': (found, jnp.float32(1))}
        return trainable['w'] * found, (jnp.float32(1), parts)

    optimizer, batch = optax.sgd(1.0), {'x': jnp.arange(8)}
    state = init({'w': jnp.float32(0)}, optimizer)
    run = functools.partial(
        step, loss=loss, optimizer=optimizer, micro_batches=2, neighbours=neighbours
    )
    _, metrics = jax.jit(run)(state, None, batch)
    assert metrics['pairs'] == (pairs / 2, 2)  # a mean over the parts


def test_the_comparisons_loss_by_hand():
    metrics = values(updated('comparisons', 1)[1])
    delta = {**tiny.adapter(), 'head': tiny.head()}
    r = np.asarray(
        heads.score(tiny.ARCH, tree.bind(tiny.weights(), delta), comparisons())
    )
    pairs = [(0, 1), (0, 2), (1, 2)]
    margins = np.stack([r[:, i] - r[:, j] for i, j in pairs], 1)
    np.testing.assert_allclose(
        metrics['loss'], np.log1p(np.exp(-margins)).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(metrics['margin'], margins.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics['accuracy'], (margins > 0).mean(), rtol=1e-5)


def quadratic(trainable, frozen, batch, key):
    """A loss whose numbers are known: the sum of (w - x)^2, counted by row."""
    error = jnp.square(trainable['w'] - batch['x'])
    return jnp.sum(error), (jnp.float32(error.size), {'noise': (
        jax.random.uniform(key), 1)})  # fmt: skip


def test_numbers_of_a_step_by_hand():
    optimizer = optax.sgd(0.1)
    state = {**init({'w': jnp.float32(1.0)}, optimizer), 'memory': {'kept': 7}}
    state, metrics = step(
        state, None, {'x': jnp.array([2.0, 4.0])}, loss=quadratic, optimizer=optimizer
    )
    assert metrics['loss'].count == 2 and metrics['grad_norm'].count == 1
    metrics = values(metrics)
    # mean of 1 and 9; gradient 2 (w - x) averaged: -4
    assert metrics['loss'] == 5.0
    assert metrics['grad_norm'] == 4.0
    assert state['trainable']['w'] == pytest.approx(1.4)
    assert state['memory'] == {'kept': 7}
    assert state['step'] == 1


def test_the_key_is_a_function_of_seed_and_step():
    optimizer = optax.sgd(0.1)

    def noise(seed, at):
        state = init({'w': jnp.float32(1.0)}, optimizer)
        state['step'] = jnp.int32(at)
        batch = {'x': jnp.ones(1)}
        run = functools.partial(step, loss=quadratic, optimizer=optimizer, seed=seed)
        return float(run(state, None, batch)[1]['noise'].value)

    assert noise(0, 0) == noise(0, 0)
    assert len({noise(0, 0), noise(0, 1), noise(1, 0)}) == 3


def test_a_batch_without_a_target_changes_nothing():
    batch = demonstrations() | {'completion': jnp.zeros((8, 8), bool)}
    optimizer = optax.sgd(0.5)
    loss = functools.partial(language.loss, arch=tiny.ARCH)
    state = init(tiny.adapter(), optimizer)
    run = jax.jit(functools.partial(step, loss=loss, optimizer=optimizer))
    after, metrics = run(state, tiny.weights(), batch)
    tiny.close(after['trainable'], state['trainable'], 0)
    assert metrics['loss'].value == 0


def test_dropout_differs_from_step_to_step():
    kind = LoraTuning(dropout=0.5)
    optimizer = optax.sgd(0.0)
    loss = functools.partial(language.loss, arch=tiny.ARCH)
    run = jax.jit(functools.partial(step, loss=loss, optimizer=optimizer))
    state = init(tiny.adapter(kind=kind), optimizer)
    after, first = run(state, tiny.weights(), demonstrations())
    _, second = run(after, tiny.weights(), demonstrations())
    _, again = run(state, tiny.weights(), demonstrations())
    losses = [x['loss'].value for x in (first, again, second)]
    assert losses[0] == losses[1] != losses[2]


def test_metrics_of_several_steps_are_means_over_what_was_counted():
    history = [
        {'loss': Average(2.0, 30), 'grad_norm': Average(1.0, 1)},
        {'loss': Average(-4.0, 10), 'grad_norm': Average(3.0, 1)},
    ]
    assert over_steps(history) == {'loss': 0.5, 'grad_norm': 2.0}
    assert over_steps(history[:1]) == {'loss': 2.0, 'grad_norm': 1.0}
    empty = {'loss': Average(0.0, 0)}
    assert over_steps([empty, empty]) == {'loss': 0.0}
