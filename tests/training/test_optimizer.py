"""Schedules at their corners, and optimizers that optimise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from perl import config as configs
from perl.adapters import tunings
from perl.models import architecture, heads
from perl.system.errors import UserError
from perl.training import optimizer
from perl.training.optimizer import OPTIMIZERS, SCHEDULES
from perl.weights import Leaf, is_leaf

KERNEL = Leaf((3, 4), ('embed', 'hidden'), 1, 1.0)


@pytest.fixture(autouse=True)
def promotion():
    """What `perl.training.step` does around optax, which needs promotion."""
    with jax.numpy_dtype_promotion('standard'):
        yield


def rates(steps, **changes):
    made = optimizer.schedule(configs.optimizer_config(0.2, **changes), steps)
    return np.array([made(i) for i in range(steps + 1)])


@pytest.mark.parametrize('warmup', [0, 4])
def test_schedules_by_hand(warmup):
    steps, rest = 24, 24 - warmup
    rise = 0.2 * np.arange(1, warmup + 1) / (warmup + 1)
    # the last of the steps is at the end of the fall
    t = np.minimum(np.arange(rest + 1) / (rest - 1), 1)
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
    update, target = (
        optimizer.make(config, 60, KERNEL),
        jnp.linspace(-1, 1, 12).reshape(3, 4),
    )

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
    made, params = optimizer.make(config, 10, KERNEL), jnp.full(2, value)
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
        optimizer.make(configs.optimizer_config(0.1, **changes), 10, KERNEL)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_weights_decay_by_the_rate(name):
    config = configs.optimizer_config(
        0.1, name=name, weight_decay=0.5, schedule='linear', warmup=2, final=0.1
    )
    update, weight, want = (
        optimizer.make(config, 6, {'w': KERNEL}),
        {'w': jnp.ones(3)},
        1.0,
    )
    state, rate = update.init(weight), optimizer.schedule(config, 6)
    for step in range(6):
        updates, state = update.update({'w': jnp.zeros(3)}, state, weight)
        weight = optax.apply_updates(weight, updates)
        want *= 1 - 0.5 * float(rate(step))
    np.testing.assert_allclose(weight['w'], want, rtol=1e-5)


@pytest.mark.parametrize(
    'kind, want',
    [
        # by hand: 10 updates without a warmup fall from 1 to 0.1 in nine equal parts
        ('linear', [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        # 0.1 + 0.9 (1 + cos(pi t / 9)) / 2
        (
            'cosine',
            [1, 0.972862, 0.89472, 0.775, 0.628142,
             0.471858, 0.325, 0.20528, 0.127138, 0.1],
        ),
    ],
)  # fmt: skip
def test_the_last_update_has_the_final_rate(kind, want):
    config = configs.optimizer_config(1.0, schedule=kind, warmup=0, final=0.1)
    made = optimizer.schedule(config, 10)
    np.testing.assert_allclose([made(i) for i in range(10)], want, rtol=1e-5)


@pytest.mark.parametrize('kind', ['linear', 'cosine'])
@pytest.mark.parametrize('steps, warmup', [(2, 0), (10, 3), (10, 8), (500, 10)])
def test_the_rate_falls_from_the_peak_after_the_warmup_to_the_last_update(
    kind, steps, warmup
):
    config = configs.optimizer_config(0.2, schedule=kind, warmup=warmup, final=0.25)
    got = np.array([optimizer.schedule(config, steps)(i) for i in range(steps)])
    assert got.argmax() == warmup
    np.testing.assert_allclose(got[[warmup, -1]], [0.2, 0.05], rtol=1e-6)


def test_a_stage_that_warms_up_until_its_last_update_ends_at_the_peak():
    config = configs.optimizer_config(0.2, schedule='linear', warmup=3)
    np.testing.assert_allclose(
        [optimizer.schedule(config, 4)(i) for i in range(4)], [0.05, 0.1, 0.15, 0.2]
    )


@pytest.mark.parametrize('name', OPTIMIZERS)
@pytest.mark.parametrize('tuning', ['full', 'lora'])
def test_kernels_decay_alone(name, tuning):
    """Kernels, embeddings and factors; no norm, bias or scalar head."""
    arch = tiny.arch(qkv_bias=True)
    kind = {'full': tunings.Full(), 'lora': tiny.LORA}[tuning]
    declared = {
        **kind.declare(architecture.parameters(arch)),
        heads.HEAD: heads.head_leaves(arch.width),
    }
    params = jax.tree.map(
        lambda x: np.ones(x.shape, np.float32), declared, is_leaf=is_leaf
    )
    config = configs.optimizer_config(
        0.1, name=name, weight_decay=0.5, schedule='constant', warmup=0
    )
    update = optimizer.make(config, 10, declared)
    still = jax.tree.map(np.zeros_like, params)
    changes, _ = jax.jit(update.update)(still, jax.jit(update.init)(params), params)
    for path, change in jax.tree_util.tree_leaves_with_path(changes):
        name = jax.tree_util.keystr(path)
        stays = any(x in name for x in ('norm', '_bias', "['head']"))
        np.testing.assert_allclose(change, 0 if stays else -0.05, rtol=1e-6)


def test_each_part_of_a_tree_decays_as_in_the_whole():
    """`partition` hands every optimizer the tree with the other parts masked."""
    declared = {'a': {'w': KERNEL, 'norm': Leaf((4,), ('norm',), 0, None)}}
    declared['b'] = dict(declared['a'])
    params = jax.tree.map(lambda x: jnp.ones(x.shape), declared, is_leaf=is_leaf)
    config = configs.optimizer_config(
        0.1, weight_decay=0.5, schedule='constant', warmup=0
    )
    made = optimizer.only(optimizer.make(config, 10, declared), 'a')
    still = jax.tree.map(jnp.zeros_like, params)
    changes, _ = made.update(still, made.init(params), params)
    np.testing.assert_allclose(changes['a']['w'], -0.05, rtol=1e-6)
    for x in (changes['a']['norm'], changes['b']['w'], changes['b']['norm']):
        assert not x.any()


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_leaf_has_the_rate_that_it_declares(name):
    """Twice and four times the update, decay included, and none at all."""
    said = {x: KERNEL._replace(rate=x) for x in (0.0, 1.0, 2.0, 4.0)}
    said = {f'rate{rate:g}': leaf for rate, leaf in said.items()}
    config = configs.optimizer_config(
        0.01, name=name, schedule='constant', warmup=0, weight_decay=0.1, clip=0.0
    )
    made = optimizer.make(config, 3, said)
    rng = np.random.default_rng(0)
    start, grad = (jnp.asarray(rng.normal(size=(3, 4)), jnp.float32) for _ in range(2))
    trainable = dict.fromkeys(said, start)
    state = made.init(trainable)
    updates, _ = made.update(dict.fromkeys(said, grad), state, trainable)
    np.testing.assert_array_equal(updates['rate0'], np.zeros((3, 4)))
    assert np.abs(updates['rate1']).min() > 0
    for rate in (2, 4):
        np.testing.assert_allclose(
            updates[f'rate{rate}'], rate * updates['rate1'], rtol=1e-5
        )
    # what is kept has no moments
    held = [x for x in jax.tree.leaves(state) if x.shape == (3, 4)]
    assert len(held) == (6 if name == 'adamw' else 3)
