"""Schedules at their corners, and optimizers that optimise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl import config as configs
from perl.system.errors import UserError
from perl.training import optimizer
from perl.training.optimizer import OPTIMIZERS, SCHEDULES


def rates(steps, **changes):
    made = optimizer.schedule(configs.optimizer_config(0.2, **changes), steps)
    return np.array([made(i) for i in range(steps + 1)])


@pytest.mark.parametrize('warmup', [0, 4])
def test_schedules_by_hand(warmup):
    steps, rest = 24, 24 - warmup
    rise = 0.2 * np.arange(1, warmup + 1) / (warmup + 1)
    t = np.arange(rest + 1) / rest
    for kind, after in (
        ('constant', np.full(rest + 1, 0.2)),
        ('linear', 0.2 * (1 - 0.9 * t)),
        ('cosine', 0.2 * (0.1 + 0.9 * (1 + np.cos(np.pi * t)) / 2)),
    ):
        got = rates(steps, schedule=kind, warmup=warmup)
        np.testing.assert_allclose(got, [*rise, *after], rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(SCHEDULES), st.integers(1, 30), st.integers(0, 40), st.floats(0, 1)
)
def test_no_step_has_a_rate_of_zero_or_above_the_peak(kind, steps, warmup, final):
    config = configs.optimizer_config(0.2, schedule=kind, warmup=warmup, final=final)
    made = optimizer.schedule(config, steps)
    assert 0 < made(0) <= 0.2 * 1.0001
    assert 0 < made(steps - 1) <= 0.2 * 1.0001 or final < 1e-3
    assert made(steps) >= 0.2 * final * 0.999


@pytest.mark.parametrize(
    'changes', [{}, {'weight_decay': 0.01}, {'clip': 0.0}], ids=str
)
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_loss_falls(name, changes):
    config = configs.optimizer_config(0.05, name=name, warmup=3, **changes)
    update, target = optimizer.make(config, 60), jnp.linspace(-1, 1, 12).reshape(3, 4)

    @jax.jit
    def go(params, state):
        loss, grads = jax.value_and_grad(lambda p: jnp.sum((p - target) ** 2))(params)
        updates, state = update.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    params, losses = jnp.zeros((3, 4)), []
    state = update.init(params)
    for _ in range(60):
        params, state, loss = go(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]


def first_update(grad, value=1.0, **changes):
    config = configs.optimizer_config(0.1, warmup=0, **changes)
    made, params = optimizer.make(config, 10), jnp.full(2, value)
    return made.update(jnp.asarray(grad), made.init(params), params)[0]


def test_the_first_step_of_adamw_by_hand():
    # the sign of the gradient, and the decay of the weight itself
    np.testing.assert_allclose(first_update([0.5, -0.25]), [-0.1, 0.1], rtol=1e-4)
    got = first_update([0.5, -0.25], value=2.0, weight_decay=0.3)
    np.testing.assert_allclose(got, [-0.16, 0.04], rtol=1e-4)


def test_the_gradient_is_clipped_by_its_global_norm():
    # an epsilon as large as the clipped gradient shows its size
    got = first_update([30.0, 40.0], clip=1.0, eps=1.0)
    np.testing.assert_allclose(got, [-0.1 * 0.6 / 1.6, -0.1 * 0.8 / 1.8], rtol=1e-4)
    got = first_update([30.0, 40.0], clip=0.0, eps=1.0)
    np.testing.assert_allclose(got, [-0.1 * 30 / 31, -0.1 * 40 / 41], rtol=1e-4)


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'name': 'adam'}, r"optimizer\.name: 'adam' is not one of adamw, adafactor"),
        ({'schedule': 'step'}, r"optimizer\.schedule: 'step' is not one of constant"),
    ],
)
def test_unknown_names(changes, says):
    with pytest.raises(UserError, match=says):
        optimizer.make(configs.optimizer_config(0.1, **changes), 10)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_weights_decay_by_the_rate(name):
    config = configs.optimizer_config(
        0.1, name=name, weight_decay=0.5, schedule='linear', warmup=2, final=0.1
    )
    update, weight, want = optimizer.make(config, 6), {'w': jnp.ones(3)}, 1.0
    state, rate = update.init(weight), optimizer.schedule(config, 6)
    for step in range(6):
        updates, state = update.update({'w': jnp.zeros(3)}, state, weight)
        weight = optax.apply_updates(weight, updates)
        want *= 1 - 0.5 * float(rate(step))
    np.testing.assert_allclose(weight['w'], want, rtol=1e-5)
