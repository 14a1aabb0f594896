"""Every row of the table of tunings: it trains what it declares, and is kept."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows_of_tunings as rows
import tiny

from perl import config as configs
from perl import sharding
from perl.adapters import bundle, tree
from perl.adapters.bundle import Card
from perl.checkpoint import Checkpoints
from perl.data import batching
from perl.data.examples import Examples
from perl.models import architecture, decoder, frozen_base, heads
from perl.stages import reward
from perl.stages.table import STAGES
from perl.system.errors import UserError
from perl.weights import Stored, flatten, is_leaf

LEAVES = architecture.parameters(tiny.ARCH)
TOKENS, POSITIONS = tiny.rows()
every_row = pytest.mark.parametrize('name', rows.KINDS)
every_adapter = pytest.mark.parametrize('name', rows.ADAPTERS)


@functools.partial(jax.jit, static_argnums=0)
def states(arch, base, delta):
    return decoder.hidden(arch, tree.bind(base, delta), TOKENS, POSITIONS)


def below(name, base):
    """What the delta sits on."""
    return {} if rows.KINDS[name].replaces_base else base


@every_row
def test_a_fresh_delta_has_the_declared_shapes_and_changes_nothing(name):
    base, arch = rows.base(name), rows.arch(name)
    delta, said = rows.fresh(name, base), rows.KINDS[name].declare(LEAVES)
    shapes = [x.shape for x in jax.tree.leaves(said, is_leaf=is_leaf)]
    assert [x.shape for x in jax.tree.leaves(delta)] == shapes
    assert {x.dtype for x in jax.tree.leaves(delta)} == {jnp.dtype('float32')}
    got = states(arch, below(name, base), delta)
    np.testing.assert_allclose(got, states(arch, base, {}), atol=2e-6)


def merged(name, base, delta):
    """The merged tree, or None where the kind has none, which must be said."""
    if name not in rows.UNMERGED:
        return tree.merge(below(name, base), delta)
    with pytest.raises(UserError, match=r'cannot be merged into a kernel; keep the'):
        tree.merge(base, delta)
    return None


@every_row
def test_bound_equals_merged(name):
    """In unrolled layers; those that are scanned are trained below."""
    base, arch = rows.base(name), rows.arch(name)
    delta = rows.trained(name, base)
    bound = states(arch, below(name, base), delta)
    assert np.abs(bound - states(arch, base, {})).max() > 0.01
    plain = merged(name, base, delta)
    if plain is not None:
        assert not any(isinstance(x, Stored) for x in flatten(plain).values())
        np.testing.assert_allclose(states(arch, plain, {}), bound, atol=1e-5)


def plan(name, arch):
    """The step of a reward stage with the tuning."""
    config = configs.experiment('tiny')
    settings = dataclasses.asdict(rows.KINDS[name])
    config.reward.tuning = configs.tuning_config(**settings)
    config.reward.optimizer.update(learning_rate=3e-2, schedule='constant', warmup=0)
    config.reward.batch_size = 4
    config.lengths.update(prompt=4, response=4)
    return reward.plan(arch, config, 'reward')


@functools.cache
def batch():
    """Four comparisons of random tokens."""
    rng = np.random.default_rng(0)
    draw = lambda n: rng.integers(1, 32, n).astype(np.int32)  # noqa: E731
    data = Examples(
        [draw(4) for _ in range(4)],
        [(draw(4), draw(4)) for _ in range(4)],
        np.ones(4, np.float32),
    )
    made = batching.collate(data, range(4), 'apart', multiple=8)
    labels = made.pop('labels')
    made = {k: x.reshape(4, -1, *x.shape[1:]) for k, x in made.items()}
    return {**made, 'labels': labels}


def stepped(update, frozen, state, steps):
    """The state after some steps, and their losses."""
    losses = []
    for _ in range(steps):
        state, metrics = update(state, frozen, batch())
        losses.append(float(metrics['loss'].value))
    return state, losses


@every_row
def test_it_trains_what_it_declares_and_goes_on(name, tmp_path):
    base, arch = rows.base(name, scan=True), rows.arch(name, scan=True)
    paper, frozen = plan(name, arch), below(name, base)
    before = {**rows.fresh(name, base), 'head': tiny.head()}
    kept = jax.device_get(frozen)
    update = jax.jit(paper.step())
    state, losses = stepped(update, frozen, paper.init(before), 3)
    store = Checkpoints(tmp_path)
    store.save(3, state)
    restored, _, _ = store.restore(state)
    both = [stepped(update, frozen, x, 5) for x in (state, restored)]
    losses += both[0][1]
    assert losses[-1] < 0.7 * losses[0], losses
    tiny.close(both[1][0], both[0][0], 0)  # what was saved goes on as what was not
    jax.tree.map(np.testing.assert_array_equal, frozen, kept)

    moved = both[0][0]['trainable']
    said = rows.KINDS[name].declare(LEAVES)
    for path, leaf in flatten_arrays(said):
        one, other = (pick(x, path) for x in (before, moved))
        reached = leaf.rate and 'unembed' not in str(path)  # a reward has no logits
        assert np.any(one != other) == bool(reached), path
    assert paper.parameter_count() == sum(
        np.prod(leaf.shape, dtype=int) for _, leaf in flatten_arrays(said) if leaf.rate
    ) + (tiny.ARCH.width + 1)
    body = {k: x for k, x in moved.items() if k != heads.HEAD}
    plain = merged(name, base, body)
    if plain is not None:
        bound = states(arch, frozen, body)
        np.testing.assert_allclose(states(arch, plain, {}), bound, atol=1e-5)


def flatten_arrays(said):
    return jax.tree_util.tree_leaves_with_path(said, is_leaf=is_leaf)


def pick(tree, path):
    """The array at a path of a tree."""
    found = {
        jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)
    }
    return found[jax.tree_util.keystr(path)]


@every_row
def test_every_stage_and_role_takes_it(name):
    """A step of shapes, without arrays: the state that it gives is that it took. That
    of a reward model is made above with arrays. Learning from texts and from
    comparisons take turns, and so do algorithms."""
    config, common = configs.experiment('tiny'), {'batch_size': 4, 'steps': 3}
    config.lengths.update(prompt=4, response=4)
    config.dpo = configs.dpo_config(1e-3)
    config.grpo = configs.policy_config(1e-3, algorithm='grpo', samples=2)
    settings = dataclasses.asdict(rows.KINDS[name])
    turn = list(rows.KINDS).index(name)
    stages = (('sft', 'dpo')[turn // 2 % 2], ('policy', 'grpo')[turn % 2])
    for stage in stages:
        config[stage].update(common | {'tuning': configs.tuning_config(**settings)})
    config.stages = stages
    arch = rows.arch(name, scan=True)
    assert arch.quantization == configs.quantization(config)
    for stage in stages:
        paper = STAGES[config[stage].kind].plan(arch, config, stage)
        state, frozen, batch = paper.abstract()
        after, _ = jax.eval_shape(paper.step(), state, frozen, batch)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        for x, y in zip(*map(jax.tree.leaves, (after, state)), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)


@every_row
def test_a_bundle_comes_back_and_does_not_hold_the_base(name, tmp_path):
    base, kind = rows.base(name), rows.KINDS[name]
    delta = rows.trained(name, base)
    bundle.save(tmp_path, delta, Card('policy', kind, 'base1', 'words1'))
    got, card = bundle.load(tmp_path)
    assert card.tuning == kind
    assert jax.tree.structure(got) == jax.tree.structure(delta)
    tiny.close(got, delta, 0)
    declared = sum(
        np.prod(x.shape, dtype=int)
        for x in jax.tree.leaves(kind.declare(LEAVES), is_leaf=is_leaf)
    )
    assert tree.size(got) == declared


@every_adapter
def test_several_are_mapped_over_in_one_pass(name):
    """As an ensemble of reward models does."""
    base, arch = rows.base(name), rows.arch(name)
    deltas = [rows.trained(name, base, seed) for seed in range(2)]
    stacked = tree.stack(deltas)
    axes = tree.stacked_axes(stacked)
    run = functools.partial(states, arch)
    got = jax.vmap(run, in_axes=(None, axes))(base, stacked)
    want = jnp.stack([run(base, delta) for delta in deltas])
    np.testing.assert_allclose(got, want, atol=1e-5)
    if name in ('lora', 'qlora'):
        return
    with pytest.raises(UserError, match='cannot be chosen by example'):
        tree.bind(base, stacked, jnp.array([0, 1, 0]))


@every_adapter
def test_the_sampler_s_cache_agrees_with_whole_rows(name):
    """The states of a row, at once and token by token."""
    arch, base = rows.arch(name), rows.base(name)

    @jax.jit
    def both(base, delta):
        params = tree.bind(base, delta)
        run = functools.partial(decoder.forward, arch, params)
        whole, _ = run(TOKENS, POSITIONS, None)
        _, kv = run(TOKENS[:, :3], POSITIONS[:, :3], None)
        room = [(0, 0), (0, 0), (0, 3), (0, 0)]
        cache = jax.tree.map(lambda x: jnp.pad(x, room), kv)
        segments = jnp.where(jnp.arange(6)[None] <= 3, 0, -1).repeat(3, axis=0)
        state, _ = run(TOKENS[:, 3:4], POSITIONS[:, 3:4], segments, cache, jnp.int32(3))
        return state[:, 0], whole[:, 3]

    np.testing.assert_allclose(*both(base, rows.trained(name, base)), atol=1e-5)


@every_row
def test_a_mesh_gives_the_numbers_of_one_device(name):
    """Eight devices: two along the batch, two share weights, two share heads."""
    arch, kind = rows.arch(name, scan=True), rows.KINDS[name]
    alone = rows.base(name, scan=True)
    delta = rows.trained(name, alone)
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    spread = frozen_base.place(arch, tiny.weights(arch), mesh)
    placed = jax.device_put(delta, sharding.shardings(kind.declare(LEAVES), mesh))
    tokens = sharding.shard_batch(np.asarray(tiny.rows((4, 6))[0]), mesh)
    positions = jnp.broadcast_to(jnp.arange(6), (4, 6))

    @jax.jit
    def run(base, delta, tokens):
        params = tree.bind(base, delta)
        return decoder.hidden(arch, params, tokens, positions)

    with jax.set_mesh(mesh):
        got = run(below(name, spread), placed, tokens)
    want = run(below(name, alone), delta, np.asarray(tokens))
    np.testing.assert_allclose(got, want, atol=1e-5)


@every_row
def test_bytes_on_paper_are_those_of_the_arrays(name):
    arch = rows.arch(name)
    held = plan(name, arch).bytes_per_device(sharding.make_mesh())
    base = below(name, rows.base(name))
    assert held['frozen'] == sum(x.nbytes for x in jax.tree.leaves(base))
    delta = {**rows.fresh(name, rows.base(name)), 'head': tiny.head()}
    assert held['trainable'] == sum(x.nbytes for x in jax.tree.leaves(delta))
