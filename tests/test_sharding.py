"""The same numbers on every mesh of eight devices."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from jax.sharding import PartitionSpec as P

from perl import sharding
from perl.adapters import tree
from perl.adapters.tunings import Full
from perl.models import architecture, decoder, heads
from perl.rollout import choosing, refill, sampler
from perl.rollout.choosing import Sampling
from perl.stages import reward
from perl.stages.frozen import Frozen
from perl.stages.policy import objective
from perl.stages.policy.episodes import Experience
from perl.system.errors import UserError
from perl.training.step import init, step
from perl.weights import Leaf

ARCH, LOOP = tiny.arch(scan=True), tiny.arch(scan=False)
LEAVES = architecture.parameters(ARCH)
# each axis alone; all three together, and eight devices on one, which a policy's step
# tries too
MESHES = [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2), (1, 8, 1), (1, 1, 8)]
OPTIMIZER = optax.sgd(0.5)
HEAD = {'head': heads.head_leaves(16)}


def label(x):
    """A test's name for a mesh or a tuning."""
    return str(x) if isinstance(x, tuple) else x.name


def placed(params, leaves, mesh):
    return jax.device_put(params, sharding.shardings(leaves, mesh))


def team(kind, mesh):
    """Base and delta on a mesh, with the delta's declaration."""
    base, said = tiny.weights(ARCH), kind.declare(LEAVES)
    delta = tiny.adapter(ARCH) if kind == tiny.LORA else base
    base = placed(base, LEAVES, mesh) if kind == tiny.LORA else {}
    return base, placed(delta, said, mesh), said


def with_head(delta, mesh):
    return {**delta, **placed({'head': tiny.head()}, HEAD, mesh)}


def comparisons():
    tokens, positions = tiny.rows((8, 2, 6))
    ends = np.random.default_rng(0).integers(2, 6, (8, 2, 1))
    return {
        'tokens': np.asarray(tokens),
        'positions': np.asarray(positions),
        'segments': np.where(positions <= ends, 0, -1),
        'ends': ends,
        'labels': np.ones(8, np.float32),
    }


@functools.cache
def reward_step(shape, kind):
    """A training step of a reward model: loss, gradient norm and parameters."""
    mesh = sharding.make_mesh(*shape)
    base, delta, _ = team(kind, mesh)
    run = functools.partial(
        step,
        loss=functools.partial(reward.bradley_terry, arch=ARCH),
        optimizer=OPTIMIZER,
        micro_batches=2,
    )
    with jax.set_mesh(mesh):
        state = init(with_head(delta, mesh), OPTIMIZER)
        batch = sharding.shard_batch(comparisons(), mesh)
        state, metrics = jax.jit(run)(state, base, batch)
    return state['trainable'], metrics


CASES = [(shape, tiny.LORA) for shape in MESHES]
CASES += [((2, 2, 2), Full())]


@pytest.mark.parametrize('shape, kind', CASES, ids=label)
def test_a_reward_step_is_the_same_and_stays_where_it_was(shape, kind):
    got, want = reward_step(shape, kind), reward_step((1, 1, 1), kind)
    tiny.close(got, want)
    mesh = sharding.make_mesh(*shape)
    said = {**kind.declare(LEAVES), **HEAD}
    for x, wanted in zip(
        jax.tree.leaves(got[0]),
        jax.tree.leaves(sharding.shardings(said, mesh)),
        strict=True,
    ):
        assert x.sharding.is_equivalent_to(wanted, x.ndim)


def test_the_reward_step_moves():
    trained, metrics = reward_step((1, 1, 1), tiny.LORA)
    before = tiny.adapter(ARCH)['layers']['attention']['q'].a
    assert np.abs(trained['layers']['attention']['q'].a - before).max() > 1e-3
    assert metrics['grad_norm'].value > 0.01


@functools.cache
def policy_step(shape, kind):
    """A training step of policy and value on a rollout."""
    mesh = sharding.make_mesh(*shape)
    base, delta, _ = team(kind, mesh)
    tokens, _ = tiny.rows((8, 8))
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(8, 4)).astype(np.float32)
            for name in ('values', 'advantages', 'returns')}  # fmt: skip
    rows = Experience(
        tokens=np.asarray(tokens),
        prompt_lengths=np.array([1, 2, 3, 4, 4, 3, 2, 1]),
        mask=np.arange(4) < np.array([4, 1, 2, 3, 4, 2, 3, 1])[:, None],
        log_probs=np.full((8, 4), -3.4, np.float32),
        **rows,
    )
    run = functools.partial(
        step,
        loss=functools.partial(objective.loss, arch=LOOP, objective=tiny.OBJECTIVE),
        optimizer=OPTIMIZER,
    )
    with jax.set_mesh(mesh):
        trainable = {'policy': delta, 'value': with_head(delta, mesh)}
        state = init(trainable, OPTIMIZER)
        frozen = Frozen(policy=base, value=base)
        state, metrics = jax.jit(run)(state, frozen, sharding.shard_batch(rows, mesh))
    return jax.device_get((state['trainable'], metrics))


@pytest.mark.parametrize('shape, kind', CASES[3:], ids=label)
def test_a_policy_step_is_the_same(shape, kind):
    tiny.close(policy_step(shape, kind), policy_step((1, 1, 1), kind), atol=3e-5)


@functools.cache
def sampled(shape, temperature, slots=None):
    """Responses to ragged prompts, in so many slots."""
    mesh = sharding.make_mesh(*shape)
    base, delta, _ = team(tiny.LORA, mesh)
    prompts = np.asarray(tiny.rows((8, 5))[0]), np.array([5, 1, 2, 3, 4, 5, 2, 3])
    sampling = Sampling(5, 7, temperature)

    @jax.jit
    def play(base, delta, prompts, key):
        params = tree.bind(base, delta)
        if slots is None:
            return sampler.sample(ARCH, params, *prompts, key, sampling)
        keys = choosing.keys_of(key, 16)
        return refill.sample(ARCH, params, *prompts, keys, sampling, slots, 2)

    with jax.set_mesh(mesh):
        prompts = sharding.shard_batch(prompts, mesh)
        said = play(base, delta, prompts, jax.random.key(0))
    return jax.device_get(said)


@pytest.mark.parametrize(
    ('shape', 'temperature', 'slots'),
    [
        *(((2, 2, 2), x, None) for x in (0.0, 1.0)),
        ((1, 8, 1), 1.0, None),
        ((1, 1, 8), 0.0, None),
        *(((2, 2, 2), x, 8) for x in (0.0, 1.0)),
        ((1, 8, 1), 1.0, 8),
    ],
    ids=str,
)
def test_the_sampler_says_the_same(shape, temperature, slots):
    """Refilled slots say what all responses at once say on one device."""
    got = sampled(shape, temperature, slots)
    want = sampled((1, 1, 1), temperature, slots and 16)
    np.testing.assert_array_equal(got.lengths, want.lengths)
    real = np.arange(5) < want.lengths[:, None]
    np.testing.assert_array_equal(got.tokens[real], want.tokens[real])
    np.testing.assert_allclose(got.log_probs[real], want.log_probs[real], atol=1e-4)


@pytest.mark.parametrize('arch', [ARCH, LOOP], ids=['scan', 'loop'])
def test_refilled_slots_keep_their_cache_where_it_is(arch):
    """Only the keys and values of new prompts go to other devices."""
    mesh, slots = sharding.make_mesh(2, 2, 2), 64
    base = placed(tiny.weights(arch), LEAVES, mesh)
    rows = np.ones((128, 6), np.int32), np.full(128, 6, np.int32)

    @jax.jit
    def play(base, prompts, key):
        keys = choosing.keys_of(key, 128)
        return refill.sample(arch, base, *prompts, keys, Sampling(11, 7), slots)

    with jax.set_mesh(mesh):
        prompts = sharding.shard_batch(rows, mesh)
        text = play.lower(base, prompts, jax.random.key(0)).compile().as_text()
    gathered = re.findall(r'= \w+\[([\d,]+)\]\S* all-gather', text)
    caches = {shape for shape in gathered if shape.endswith(',17,4')}
    # an eighth of the slots, with one head of keys and values on each device
    assert caches == {'2,8,1,17,4' if arch.scan else '8,1,17,4'}


def shards(x):
    return {s.data.shape for s in x.addressable_shards}


def test_base_and_adapters_are_really_cut():
    mesh = sharding.make_mesh(2, 2, 2)
    base, delta, _ = team(tiny.LORA, mesh)
    attention = base['layers']['attention']
    assert shards(base['embed']) == {(16, 8)}
    assert shards(attention['q']) == {(2, 8, 2, 4)}
    assert shards(attention['o']) == {(2, 2, 4, 8)}
    assert shards(attention['norm']) == {(2, 16)}
    assert shards(base['layers']['mlp']['down']) == {(2, 12, 8)}
    q, o = (delta['layers']['attention'][name] for name in 'qo')
    assert (shards(q.a), shards(q.b)) == ({(2, 8, 3)}, {(2, 3, 2, 4)})
    assert (shards(o.a), shards(o.b)) == ({(2, 2, 4, 3)}, {(2, 3, 8)})
    rows = sharding.shard_batch(comparisons(), mesh)
    assert shards(rows['tokens']) == {(2, 2, 6)}
    assert shards(rows['labels']) == {(2,)}


def test_an_axis_that_does_not_divide_is_whole_on_every_device():
    mesh = sharding.make_mesh(1, 1, 8)
    assert sharding.spec(('embed', 'kv_heads', 'head'), (16, 2, 4), mesh) == P(
        'fsdp', None, None
    )
    assert sharding.spec(('vocab', 'embed'), (32, 16), mesh) == P('tensor', 'fsdp')


def test_an_axis_without_a_rule_is_an_error():
    mesh = sharding.make_mesh()
    with pytest.raises(
        KeyError, match="no sharding rule for the logical axis 'expert'"
    ):
        sharding.shardings({'w': Leaf((4, 4), ('expert', 'embed'), 1, None)}, mesh)


@pytest.mark.parametrize('shape', [(3, 1, 1), (2, 2, 1), (1, 8, 1)])
def test_a_batch_that_does_not_divide_is_an_error(shape):
    ways = shape[0] * shape[1]
    mesh = sharding.make_mesh(*shape)
    with pytest.raises(
        UserError, match=f'10 rows does not divide .* multiple of {ways}'
    ):
        sharding.shard_batch({'tokens': np.zeros((10, 4))}, mesh)


def test_a_mesh_of_too_many_devices_is_an_error():
    with pytest.raises(UserError, match='needs 16 devices, there are 8'):
        sharding.make_mesh(2, 4, 2)


def test_minus_1_takes_the_devices_that_are_left():
    assert dict(sharding.make_mesh(-1, 2, 2).shape) == {
        'data': 2, 'fsdp': 2, 'tensor': 2,
    }  # fmt: skip


def test_activations_are_pinned_on_a_mesh_and_left_alone_without():
    x = jnp.zeros((8, 4))
    assert sharding.constrain(x, 'batch', None) is x
    with jax.set_mesh(sharding.make_mesh(2, 2, 2)):
        pinned = jax.jit(lambda x: sharding.constrain(x, 'batch', None))(x)
    assert shards(pinned) == {(2, 4)}


@pytest.mark.parametrize('arch', [ARCH, LOOP], ids=['scan', 'loop'])
def test_rows_stay_where_they_are(arch):
    """Forward and backward: weights are gathered where the rows of the batch lie; XLA
    finds no layout that it has to mend."""
    mesh = sharding.make_mesh(2, 2, 2)
    base = placed(tiny.weights(arch), LEAVES, mesh)
    rows = sharding.shard_batch(np.ones((24, 10), np.int32), mesh)

    def loss(params, rows):
        return jnp.sum(decoder.hidden(arch, params, rows, rows) ** 2)

    with jax.set_mesh(mesh):
        shards = jax.tree.map(lambda x: x.sharding, base)
        grad = jax.jit(jax.grad(loss), out_shardings=shards)
        text = grad.lower(base, rows).compile().as_text()
    assert 'all-gather' in text
    for moved in ('collective-permute', 'all-to-all', '[24,10,'):
        assert moved not in text


@pytest.mark.parametrize(
    'axes', [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-2, 1, 1), (1, -1, 1), (1, 1, -1)]
)
def test_an_axis_below_1_is_none(axes):
    with pytest.raises(UserError, match='has an axis below 1'):
        sharding.make_mesh(*axes)
    with pytest.raises(UserError, match='has an axis below 1'):
        sharding.sizes(*axes, devices=1)


@pytest.mark.parametrize('error', [RuntimeError('no rocm'), AssertionError()])
def test_a_platform_that_is_not_there_is_one_line(monkeypatch, error):
    def fails():
        raise error

    monkeypatch.setattr(jax, 'devices', fails)
    says = (
        r"^JAX_PLATFORMS=\w*: JAX finds no such device .*'\.\[cuda\]' .*PLATFORMS=cpu$"
    )
    with pytest.raises(UserError, match=says):
        sharding.devices()


@pytest.mark.parametrize(
    ('size', 'total', 'mesh', 'rows'),
    [
        (64, 200, (1, 1, 1), 64),
        (100_000, 8, (1, 1, 1), 8),
        (64, 0, (1, 1, 1), 1),
        (64, 0, (2, 2, 2), 4),
        (100_000, 9, (2, 2, 2), 12),
        (64, 200, (2, 2, 2), 64),
        (64, 3, (1, 1, 8), 3),
    ],
)
def test_a_batch_has_the_rows_that_are_needed(size, total, mesh, rows):
    assert sharding.batch_rows(size, total, sharding.make_mesh(*mesh)) == rows
