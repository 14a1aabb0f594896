"""Averages and merges of every kind of adapter, as laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows_of_tunings as rows
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.adapters import averaging, tree
from perl.adapters.tunings import LoraTuning
from perl.models import architecture, decoder
from perl.system.errors import UserError
from perl.weights import Pooled, Stored, abstract, flatten
from perl.weights.affine import Int4

LEAVES = architecture.parameters(tiny.ARCH)
EXACT = ('lora', 'dora', 'pissa', 'qlora', 'qalora', 'top_layers')
every_row = pytest.mark.parametrize('name', rows.KINDS)
few = settings(deadline=None, max_examples=4)
seeds = st.integers(0, 5)


@functools.cache
def base(name):
    return rows.base(name)


@functools.cache
def delta(name, seed):
    return rows.trained(name, base(name), seed)


merge = jax.jit(tree.merge)
decode = jax.jit(jax.vmap(lambda leaf: leaf.decode()))


def effect(name, delta):
    """What a delta makes of the model, in float64: its kernels where there are some,
    else its own arrays."""
    if name in rows.UNMERGED:
        found = dict(enumerate(jax.tree.leaves(delta)))
    else:
        below = {} if name == 'full' else base(name)
        found = flatten(merge(below, delta))
    return {path: np.asarray(x, np.float64) for path, x in found.items()}


@functools.cache
def alone(name, seed):
    """The effect of one delta."""
    return effect(name, delta(name, seed))


def close(got, want, atol=2e-5):
    assert got.keys() == want.keys()
    for path in want:
        np.testing.assert_allclose(got[path], want[path], atol=atol, err_msg=str(path))


def average(name, deltas, shares=None):
    """Their average, as a tuning declares it."""
    shares = shares or [1 / len(deltas)] * len(deltas)
    made = averaging.combine(deltas, shares, base(name))
    made, kind = rows.KINDS[name].describing(made)
    said = abstract(kind.declare(LEAVES))
    assert jax.tree.structure(said) == jax.tree.structure(made)
    for x, y in zip(*map(jax.tree.leaves, (said, made)), strict=True):
        assert x.shape == y.shape
    return made


@every_row
@few
@given(seeds)
def test_the_average_of_one_is_itself(name, seed):
    one = delta(name, seed)
    close(effect(name, average(name, [one])), alone(name, seed))


@every_row
@few
@given(seeds, st.integers(2, 3))
def test_the_average_of_equals_is_each_of_them(name, seed, count):
    one = delta(name, seed)
    close(effect(name, average(name, [one] * count)), alone(name, seed))


@every_row
@few
@given(st.permutations([0, 1, 2]))
def test_order_does_not_matter(name, order):
    want = effect(name, average(name, [delta(name, i) for i in range(3)]))
    close(effect(name, average(name, [delta(name, i) for i in order])), want)


@pytest.mark.parametrize('name', EXACT)
@few
@given(st.floats(-1, 2))
def test_an_average_is_that_of_the_kernels(name, share):
    parts = [alone(name, i) for i in range(2)]
    made = average(name, [delta(name, i) for i in range(2)], [share, 1 - share])
    want = {p: share * parts[0][p] + (1 - share) * parts[1][p] for p in parts[0]}
    close(effect(name, made), want, atol=1e-4)


def test_rank_stabilised_factors_of_many_ranks():
    rules = ('layers/attention/q:5', 'layers/mlp/down', 'embed:1')
    kind = LoraTuning(3, 6.0, True, targets=rules)
    parts = [tiny.adapter(kind=kind, seed=i) for i in range(2)]
    made, said = kind.describing(averaging.combine(parts, [0.5, 0.5]))
    plain = tiny.weights()
    found = [flatten(tree.merge(plain, part)) for part in parts]
    got = flatten(tree.merge(plain, made))
    for path, x in got.items():
        np.testing.assert_allclose(x, (found[0][path] + found[1][path]) / 2, atol=1e-5)
    small, lost = averaging.compress(made, 2)
    assert 0 < lost < 1 and said.rank == 10
    assert averaging.compress(small, 2)[1] == 0


@pytest.mark.parametrize('scan', [False, True])
def test_qalora_folds_into_the_offsets(scan):
    """The same output before and after, and codes and scales as they were."""
    arch, frozen = rows.arch('qalora', scan=scan), base('qalora')
    made, (tokens, positions) = delta('qalora', 0), tiny.rows()
    folded = tree.fold(frozen, made)
    hidden = jax.jit(decoder.hidden, static_argnums=0)
    run = functools.partial(hidden, arch, tokens=tokens, positions=positions)
    before, after = run(params=tree.bind(frozen, made)), run(params=folded)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(before - run(params=frozen)).max() > 0.1
    for path, adapter in flatten(made).items():
        one, other = flatten(frozen)[path], flatten(folded)[path]
        assert isinstance(adapter, Pooled) and isinstance(other, Int4)
        np.testing.assert_array_equal(other.codes, one.codes)
        np.testing.assert_array_equal(other.scale, one.scale)


def test_an_average_of_qalora_folds_to_the_average_of_the_offsets():
    frozen, parts = base('qalora'), [delta('qalora', i) for i in range(2)]
    got = flatten(tree.fold(frozen, average('qalora', parts)))
    each = [flatten(tree.fold(frozen, part)) for part in parts]
    for path, x in got.items():
        if isinstance(x, Int4):
            want = (each[0][path].offset + each[1][path].offset) / 2
            np.testing.assert_allclose(x.offset, want, atol=1e-5)


def test_folding_into_nf4_is_refused_unless_asked_for():
    frozen, made = base('qlora'), delta('qlora', 0)
    with pytest.raises(UserError, match=r'a base in nf4 would round .* \(lossy\)'):
        tree.fold(frozen, made)
    fold = jax.jit(functools.partial(tree.fold, lossy=True))
    folded, plain = fold(frozen, made), merge(frozen, made)
    for path, x in flatten(folded).items():
        if isinstance(flatten(frozen)[path], Stored):
            assert type(x) is type(flatten(frozen)[path])
            decoded = decode(x)
            want = flatten(plain)[path]
            assert 0 < np.abs(decoded - want).max() < 0.4 * np.abs(want).max()
    # without an adapter there is nothing to round
    tiny.close(tree.fold(frozen, {}), frozen, 0)


def test_lora_folds_into_an_array_exactly():
    plain, made = tiny.weights(), tiny.adapter()
    tiny.close(tree.fold(plain, made), tree.merge(plain, made), 0)


@pytest.mark.parametrize('name', ['dora', 'pissa', 'bitfit', 'houlsby', 'prefix'])
def test_no_arc_and_no_lower_rank_where_there_are_no_two_factors(name):
    one, other = delta(name, 0), delta(name, 1)
    with pytest.raises(UserError, match='not a product of two factors; take the mean'):
        averaging.slerp({}, one, other, 0.5)
    with pytest.raises(UserError, match='not a product of two factors'):
        averaging.interpolate_to_start({}, one, 0.5)
    with pytest.raises(UserError, match='not a product of two factors'):
        averaging.compress(one, 1)


def test_kinds_are_not_mixed():
    one, other = tiny.adapter(kind=LoraTuning()), delta('dora', 0)
    with pytest.raises(UserError, match='of kind Lora in one and Dora in another'):
        averaging.combine([one, other], [0.5, 0.5])


def test_other_settings_are_named():
    one = delta('houlsby', 0)
    wide = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=-1), one)
    with pytest.raises(UserError, match='they differ in down'):
        averaging.combine([one, wide], [0.5, 0.5])
