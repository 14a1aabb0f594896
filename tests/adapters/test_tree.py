"""Bound trees against merged ones, and stacks of adapters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import sharding, weights
from perl.adapters import tree
from perl.adapters.tunings import LoraTuning, create
from perl.models import architecture, decoder, frozen_base
from perl.system.errors import UserError
from perl.weights import Adapted

TOKENS, POSITIONS = tiny.rows()


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, base, delta, ids=None, key=None):
    params = tree.bind(base, delta, ids, key)
    states = decoder.hidden(arch, params, TOKENS, POSITIONS)
    return decoder.unembed(arch, params, states)


@functools.partial(jax.jit, static_argnums=0)
def merged_logits(arch, base, delta):
    return logits(arch, tree.merge(base, delta), {})


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize('scan', [False, True])
def test_a_fresh_adapter_is_an_exact_identity(scan, tied):
    arch = tiny.arch(scan=scan, tied=tied)
    base = tiny.weights(arch)
    kind = LoraTuning(targets=('.*embed', 'layers/(attention|mlp)/(?!norm).*'))
    leaves = architecture.parameters(arch)
    fresh = kind.init(jax.random.key(0), None, leaves)
    np.testing.assert_array_equal(logits(arch, base, fresh), logits(arch, base, {}))
    trained = tiny.adapter(arch, kind)
    assert np.any(logits(arch, base, trained) != logits(arch, base, {}))


@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('scan', [False, True])
def test_bound_equals_merged_forward_and_gradient(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat, tied=scan == remat)
    base, delta = tiny.weights(arch), tiny.adapter(arch)

    @jax.jit
    def both(delta):
        def total(delta, forward):
            out = forward(arch, base, delta)
            return jnp.sum(jnp.sin(out)), out

        grad = jax.grad(total, has_aux=True)
        return grad(delta, logits), grad(delta, merged_logits)

    got, want = both(delta)
    tiny.close(got, want, atol=1e-4)
    assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(want[0]))


def test_binding_copies_and_computes_nothing():
    base, delta = tiny.weights(), tiny.adapter()
    bound = tree.bind(base, delta)
    flat = weights.flatten(bound)
    for path, leaf in weights.flatten(base).items():
        held = flat[path]
        assert (held.base if isinstance(held, Adapted) else held) is leaf
    assert sum(isinstance(x, Adapted) for x in flat.values()) == 9
    assert not jax.make_jaxpr(tree.bind)(base, delta).eqns


def test_binding_replaces_and_adds_arrays():
    base, head = tiny.weights(), tiny.head()
    bound = tree.bind(base, {'norm': base['norm'] * 2, 'head': head})
    np.testing.assert_array_equal(bound['norm'], 2 * base['norm'])
    assert bound['head'] == head and bound['embed'] is base['embed']
    assert 'head' not in base
    assert tree.bind({}, base)['layers']['mlp']['up'] is base['layers']['mlp']['up']


def test_merging_leaves_the_rest_alone_and_adds_in_float32():
    kind = LoraTuning(targets=('layers/attention/q',))
    base, delta = tiny.weights(dtype=jnp.bfloat16), tiny.adapter(kind=kind)
    merged = tree.merge(base, delta)
    flat, before = weights.flatten(merged), weights.flatten(base)
    assert [p for p in flat if flat[p] is not before[p]] == ['layers/attention/q']
    lora = delta['layers']['attention']['q']
    change = np.einsum('ldr,lrhn->ldhn', lora.a, lora.b) * lora.scale
    want = before['layers/attention/q'].astype(np.float32) + change
    assert flat['layers/attention/q'].dtype == jnp.bfloat16
    np.testing.assert_array_equal(flat['layers/attention/q'], want.astype(jnp.bfloat16))


@pytest.fixture(scope='module')
def mixed():
    """Three adapters of other ranks and scales."""
    targets = ('layers/.*/(q|o|down)', 'embed')
    sizes = ((1, 2.0), (4, 4.0), (2, 1.0))
    return [
        tiny.adapter(kind=LoraTuning(*size, targets=targets), seed=i)
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize('scan', [False, True])
def test_ids_equal_one_by_one(mixed, scan):
    arch, base = tiny.arch(scan=scan), tiny.weights()
    ids = jnp.array([2, 0, 1])

    @jax.jit
    def both(base, mixed):
        alone = [logits(arch, base, delta) for delta in mixed]
        return logits(arch, base, tree.stack(mixed), ids), jnp.stack(alone)

    got, alone = both(base, mixed)
    np.testing.assert_allclose(got, alone[ids, jnp.arange(3)], rtol=1e-4, atol=1e-4)
    assert np.abs(got - alone[ids - 1, jnp.arange(3)]).max((1, 2)).min() > 0.05


def test_stack_and_select_are_a_round_trip(mixed):
    @jax.jit
    def both(base, mixed):
        stacked = tree.stack(mixed)
        selected = [tree.select(stacked, i) for i in range(3)]
        return [[tree.merge(base, d) for d in ds] for ds in (selected, mixed)]

    tiny.close(*both(tiny.weights(), mixed), atol=1e-6)


def test_heads_are_stacked_too():
    heads = [{'head': tiny.head(seed)} for seed in range(2)]
    stacked = tree.stack(heads)
    assert stacked['head']['kernel'].shape == (2, 16)
    np.testing.assert_array_equal(
        tree.select(stacked, 1)['head']['kernel'], heads[1]['head']['kernel']
    )


def test_adapters_of_other_targets_do_not_stack():
    one = tiny.adapter(kind=LoraTuning(targets=('layers/attention/q',)))
    other = tiny.adapter(kind=LoraTuning(targets=('layers/attention/k',)))
    with pytest.raises(UserError, match='same target rules'):
        tree.stack([one, other])


@pytest.mark.parametrize('scan', [False, True])
def test_a_key_turns_dropout_on_in_every_layer(scan):
    arch, base = tiny.arch(scan=scan), tiny.weights()
    kind = LoraTuning(3, 6.0, dropout=0.5, targets=('layers/mlp/up',))
    delta = tiny.adapter(arch, kind)
    key = jax.random.key(3)
    np.testing.assert_array_equal(
        logits(arch, base, delta), logits(arch, base, tiny.adapter(arch, LoraTuning(
            3, 6.0, targets=('layers/mlp/up',)))))  # fmt: skip
    assert np.any(logits(arch, base, delta, None, key) != logits(arch, base, delta))
    bound = tree.bind(base, delta, key=key)
    keys = jax.random.key_data(bound['layers']['mlp']['up'].key)
    assert len(keys) == arch.layers and np.any(keys[0] != keys[1])


def test_each_kernel_draws_its_own_dropout():
    kind = LoraTuning(dropout=0.5)
    bound = tree.bind(tiny.weights(), tiny.adapter(kind=kind), key=jax.random.key(0))
    keys = [bound['layers']['attention'][name].key for name in 'qkvo']
    drawn = {tuple(np.ravel(jax.random.key_data(key))) for key in keys}
    assert len(drawn) == 4


def test_size_counts_elements():
    assert tree.size({'a': jnp.zeros((2, 3)), 'b': {'c': jnp.zeros(())}}) == 7


def test_fold_rounds_no_weight_that_was_trained_in_full():
    """The place of a kernel in four bits is one of four bits."""
    kind = create({'name': 'qalora', 'modules_to_save': ('layers/mlp/down', 'embed')})
    arch = tiny.arch(quantization='int4')
    base = frozen_base.place(arch, tiny.weights(arch), sharding.make_mesh())
    delta = kind.init(jax.random.key(0), base, architecture.parameters(arch))
    with pytest.raises(UserError, match='into a base in int4 would round'):
        tree.fold(base, delta)
    folded = tree.fold(base, delta, lossy=True)
    assert jax.tree.structure(folded) == jax.tree.structure(base)
    tiny.close(folded['embed'], delta['embed'], 0)
