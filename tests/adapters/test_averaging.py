"""Averages of adapters against the matrices that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from perl import weights
from perl.adapters import averaging, tree
from perl.adapters.tunings import Full, LoraTuning
from perl.models import architecture
from perl.system.errors import UserError
from perl.weights import Lora

LEAVES = architecture.parameters(tiny.ARCH)
# layered kernels with one and two input axes, one that is not layered, and a head
TARGETS = ('layers/attention/(q|o)', 'layers/mlp/down', 'embed')


def adapter(seed, rank=2, alpha=3.0):
    made = tiny.adapter(kind=LoraTuning(rank, alpha, targets=TARGETS), seed=seed)
    return {**made, 'head': tiny.head(seed)}


def matrices(delta):
    """What the delta adds to each kernel, in float64; arrays as they are."""

    def of(path, leaf):
        if not isinstance(leaf, Lora):
            return np.asarray(leaf, np.float64)
        a, b = (np.asarray(x, np.float64) for x in (leaf.a, leaf.b))
        if path.startswith('layers'):
            pairs = zip(a, b, strict=True)
            return leaf.scale * np.stack([np.tensordot(x, y, 1) for x, y in pairs])
        return leaf.scale * np.tensordot(a, b, 1)

    return {path: of(path, x) for path, x in weights.flatten(delta).items()}


def layers(path, x):
    """`[L, n]` of a layered array, `[1, n]` of another."""
    return x.reshape(len(x) if path.startswith('layers') else 1, -1)


def equal(got, want, atol=1e-6):
    got = matrices(got)
    assert got.keys() == want.keys()
    for path in want:
        size = max(1.0, np.abs(want[path]).max())
        np.testing.assert_allclose(got[path], want[path], atol=atol * size, rtol=0)


def total(parts, coefficients):
    found = [matrices(part) for part in parts]
    return {
        path: sum(c * x[path] for c, x in zip(coefficients, found, strict=True))
        for path in found[0]
    }


@settings(deadline=None, max_examples=10)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=4))
def test_a_combination_is_that_of_the_products(coefficients):
    parts = [adapter(i, rank=1 + i, alpha=2.0) for i in range(len(coefficients))]
    got = averaging.combine(parts, coefficients)
    equal(got, total(parts, coefficients))
    ranks = {x.a.shape[-1] for x in jax.tree.leaves(got, is_leaf=tree.is_adapter)
             if tree.is_adapter(x)}  # fmt: skip
    assert ranks == {sum(1 + i for i in range(len(parts)))}


def test_averaging_the_factors_is_another_thing():
    one, other = adapter(0), adapter(1)
    naive = jax.tree.map(lambda x, y: (x + y) / 2, one, other)
    with pytest.raises(AssertionError):
        equal(naive, total([one, other], [0.5, 0.5]), atol=1e-2)


def test_all_weights_are_averaged_as_they_stand():
    one, other = tiny.weights(seed=0), tiny.weights(seed=1)
    got = averaging.combine([one, other], [0.25, 0.75])
    want = jax.tree.map(lambda x, y: 0.25 * x + 0.75 * y, one, other)
    tiny.close(got, want, 1e-6)


def test_adapters_on_other_kernels_are_refused():
    other = {name: part for name, part in adapter(0).items() if name != 'embed'}
    with pytest.raises(UserError, match=r'only some .* have embed; train'):
        averaging.combine([adapter(0), other], [0.5, 0.5])


def test_compression_of_what_has_the_rank_is_exact():
    parts = [adapter(0, rank=2), adapter(1, rank=2)]
    wide = averaging.combine([*parts, *parts], [0.5, 0.25, 0.5, 0.25])
    small, lost = averaging.compress(wide, 4)
    assert small['layers']['attention']['o'].a.shape == (2, 4, 4, 4)
    assert small['embed'].b.shape == (4, 16)
    equal(small, matrices(wide))
    assert lost < 1e-6
    assert averaging.compress(small, 4)[0]['embed'] is small['embed']


def test_compression_is_the_truncated_svd():
    wide = averaging.combine([adapter(0), adapter(1)], [1.0, 1.0])
    small, lost = averaging.compress(wide, 1)
    got, whole = matrices(small), matrices(wide)
    kernels = [path for path in whole if not path.startswith('head')]
    gone = sum(np.sum((got[x] - whole[x]) ** 2) for x in kernels)
    size = sum(np.sum(whole[x] ** 2) for x in kernels)
    np.testing.assert_allclose(lost, np.sqrt(gone / size), rtol=1e-5)
    assert 0.1 < lost < 1
    for path, x in whole.items():
        if path.startswith('head'):
            np.testing.assert_array_equal(got[path], x)
            continue
        lora = weights.flatten(wide)[path]
        lead = lora.a.shape[: int(path.startswith('layers'))]
        inputs = int(np.prod(lora.a.shape[len(lead) : -1]))
        flat = x.reshape(*lead, inputs, -1)
        u, s, vt = np.linalg.svd(flat, full_matrices=False)
        want = (u[..., :1] * s[..., None, :1]) @ vt[..., :1, :]
        np.testing.assert_allclose(got[path].reshape(flat.shape), want, atol=1e-5)


def arc(init, a, b, lam):
    """SLERP of the materialised task vectors of each layer."""
    start, one, other = (matrices(x) for x in (init, a, b))
    made = {}
    for path, before in start.items():
        d1, d2 = (layers(path, x[path] - before) for x in (one, other))
        norms = np.linalg.norm(d1, axis=1) * np.linalg.norm(d2, axis=1)
        cosine = np.sum(d1 * d2, 1) / np.where(norms, norms, 1)
        w = np.arccos(np.clip(np.where(norms, cosine, 1), -1, 1))[:, None]
        if np.all(np.sin(w) < 1e-7):
            moved = (1 - lam) * d1 + lam * d2
        else:
            moved = (np.sin((1 - lam) * w) * d1 + np.sin(lam * w) * d2) / np.sin(w)
        made[path] = before + moved.reshape(before.shape)
    return made


@pytest.mark.parametrize('lam', [0.0, 0.3, 0.5, 1.0])
def test_slerp_goes_along_the_arc_of_each_layer(lam):
    init, a, b = adapter(0), adapter(1), adapter(2)
    got = averaging.slerp(init, a, b, lam)
    equal(got, arc(init, a, b, lam), atol=1e-5)
    if lam in (0.0, 1.0):
        equal(got, matrices(b if lam else a), atol=1e-5)


def test_slerp_of_all_weights():
    init, a, b = (tiny.weights(seed=seed) for seed in range(3))
    equal(averaging.slerp(init, a, b, 0.5), arc(init, a, b, 0.5), atol=1e-5)


def test_slerp_from_a_fresh_adapter_keeps_the_norm():
    # what training began from: a product of zero; both ends as far away from it
    kind = LoraTuning(2, targets=TARGETS)
    fresh = kind.init(jax.random.key(0), None, LEAVES)
    one, other = (tiny.adapter(kind=kind, seed=seed) for seed in range(2))
    size = {p: np.linalg.norm(layers(p, x), axis=1) for p, x in matrices(one).items()}
    far = {p: np.linalg.norm(layers(p, x), axis=1) for p, x in matrices(other).items()}
    flat = weights.flatten(other)
    for path, lora in flat.items():
        ratio = jnp.asarray(size[path] / far[path], jnp.float32)
        lead = int(path.startswith('layers'))
        shape = (*ratio.shape[:lead], *[1] * (lora.b.ndim - lead))
        flat[path] = Lora(lora.a, lora.b * ratio.reshape(shape), lora.scale)
    other = weights.unflatten(flat)
    for lam in (0.25, 0.5):
        got = averaging.slerp(fresh, one, other, lam)
        assert got['embed'].a.shape[-1] == 4
        for path, x in matrices(got).items():
            norms = np.linalg.norm(layers(path, x), axis=1)
            np.testing.assert_allclose(norms, size[path], rtol=1e-5)
        line = total([one, other], [1 - lam, lam])
        assert all(
            np.linalg.norm(line[p]) < 0.99 * np.linalg.norm(x)
            for p, x in matrices(got).items()
        )


def test_halfway_between_orthogonal_task_vectors():
    a, b = ({'norm': jnp.array(x)} for x in ([3.0, 1.0], [1.0, 2.0]))
    got = averaging.slerp({'norm': jnp.array([1.0, 1.0])}, a, b, 0.5)
    np.testing.assert_allclose(got['norm'], 1 + np.sqrt(0.5) * np.array([2.0, 1.0]))


@pytest.mark.parametrize('other', [[3.0, 1.0], [2.0, 1.0], [-3.0, 1.0], [1.0, 1.0]])
def test_parallel_task_vectors_are_joined_by_a_line(other):
    init, a = {'norm': jnp.array([1.0, 1.0])}, {'norm': jnp.array([3.0, 1.0])}
    got = averaging.slerp(init, a, {'norm': jnp.array(other)}, 0.25)
    want = 0.75 * np.array([3.0, 1.0]) + 0.25 * np.array(other)
    np.testing.assert_allclose(got['norm'], want, atol=1e-6)


def test_a_small_task_vector_on_a_large_start():
    # 1e-4 of what they start from: float32 inner products would lose the angle
    init = adapter(0)
    a, b = (averaging.combine([init, adapter(i)], [1.0, 1e-4]) for i in (1, 2))
    got = averaging.slerp(init, a, b, 0.5)
    want = arc(init, a, b, 0.5)
    start = matrices(init)
    for path, x in matrices(got).items():
        if path.startswith('head'):
            continue
        moved, right = x - start[path], want[path] - start[path]
        assert np.linalg.norm(moved - right) < 1e-2 * np.linalg.norm(right)


@pytest.mark.parametrize('eta', [0.0, 0.3, 1.0])
def test_liti_is_a_line_to_the_start(eta):
    init, delta = adapter(0), adapter(1)
    equal(
        averaging.interpolate_to_start(init, delta, eta),
        total([init, delta], [1 - eta, eta]),
    )
    equal(averaging.interpolate_to_start({}, delta, eta), total([delta], [eta]))


def test_the_tuning_of_an_average_declares_it():
    rules = ('layers/attention/q:5', 'layers/mlp/down', 'embed:1')
    kind = LoraTuning(3, 6.0, True, 0.1, rules)
    parts = [tiny.adapter(kind=kind, seed=i) for i in range(2)]
    made = averaging.combine(parts, [0.5, 0.5])
    got, said = kind.describing(made)
    equal(got, matrices(made))
    declared = weights.abstract(said.declare(LEAVES))
    assert jax.tree.structure(declared) == jax.tree.structure(got)
    shapes = [[x.shape for x in jax.tree.leaves(t)] for t in (declared, got)]
    assert shapes[0] == shapes[1]
    same = averaging.combine([adapter(0), adapter(1)], [0.5, 0.5])
    assert kind.describing(same)[0]['embed'].scale == 1.0
    full = tiny.weights()
    assert Full().describing(full) == (full, Full())
