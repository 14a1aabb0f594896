"""The decoder against numpy by hand in float64, and the laws it must keep."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import weights
from perl.adapters import tree
from perl.losses import kl, language
from perl.models import decoder, heads
from perl.models.rotary import rotate, rotations
from perl.system.errors import UserError

TOKENS, POSITIONS = tiny.rows((3, 9))
SEGMENTS = np.array(
    [[0, 0, 0, 1, 1, 1, 2, 2, -1], [1, 1, 1, 2, 2, 3, 3, 3, 3], [0] * 7 + [-1] * 2]
)
RESTART = np.array([[0, 1, 2, 3, 4, 5, 3, 4, 0], [0, 1, 2, 0, 1, 0, 1, 2, 3],
                    [*range(7), 0, 0]])  # fmt: skip


def by_hand(arch, params, tokens, positions, segments):
    """Logits of a Llama, one head and one query at a time."""
    w = weights.flatten(jax.tree.map(lambda x: np.asarray(x, np.float64), params))
    x = w['embed'][tokens]
    for i in range(arch.layers):
        p = {k.split('/')[-2][0] + k.split('/')[-1]: v[i]
             for k, v in w.items() if k.startswith('layers')}  # fmt: skip
        h = normed(x, p['anorm'], arch.norm_eps)
        q, k, v = (np.tensordot(h, p[f'a{name}'], 1) for name in 'qkv')
        out = np.zeros_like(q)
        for b, t, n in np.ndindex(*q.shape[:3]):
            seen = [
                s
                for s in range(t + 1)
                if segments[b, s] >= 0 and segments[b, s] in (0, segments[b, t])
            ]
            if not seen:
                continue
            g = n // (arch.heads // arch.kv_heads)
            query = turned(arch, q[b, t, n], positions[b, t])
            scores = [turned(arch, k[b, s, g], positions[b, s]) @ query for s in seen]
            scores = np.array(scores) / arch.head_width**0.5
            scores = np.exp(scores - scores.max())
            out[b, t, n] = scores / scores.sum() @ v[b, seen, g]
        x = x + np.tensordot(out, p['ao'], 2)
        h = normed(x, p['mnorm'], arch.norm_eps)
        gate = h @ p['mgate']
        x = x + (gate / (1 + np.exp(-gate)) * (h @ p['mup'])) @ p['mdown']
    x = normed(x, w['norm'], arch.norm_eps)
    return x @ (w['embed'].T if arch.tied else w['unembed'])


def normed(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def turned(arch, x, position):
    """Pairs of components as complex numbers, each turned by its own angle."""
    n = len(x) // 2
    pairs = (x[::2], x[1::2]) if arch.rope_layout == 'pairs' else (x[:n], x[n:])
    angle = position * arch.rope_theta ** (-np.arange(n) / n)
    z = (pairs[0] + 1j * pairs[1]) * np.exp(1j * angle)
    if arch.rope_layout == 'pairs':
        return np.stack([z.real, z.imag], -1).ravel()
    return np.concatenate([z.real, z.imag])


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, params, tokens, positions, segments):
    states = decoder.hidden(arch, params, tokens, positions, segments)
    return decoder.unembed(arch, params, states)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'rope_layout': 'pairs'},
        {'tied': True, 'rope_theta': 50.0, 'norm_eps': 0.1},
        {'kv_heads': 1, 'scan': True},
        {'kv_heads': 4, 'head_width': 6},
    ],
    ids=lambda changes: ','.join(changes),
)
def test_equals_numpy_by_hand(changes):
    arch = tiny.arch(**changes)
    params = tiny.weights(arch)
    got = logits(arch, params, TOKENS, RESTART, SEGMENTS)
    want = by_hand(arch, params, np.asarray(TOKENS), RESTART, SEGMENTS)
    real = SEGMENTS >= 0
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got[real], want[real], atol=1e-5, rtol=1e-5)
    assert np.std(want[real]) > 0.1


def test_no_segments_are_one_segment():
    params = tiny.weights()
    np.testing.assert_array_equal(
        logits(tiny.ARCH, params, TOKENS, POSITIONS, None),
        logits(tiny.ARCH, params, TOKENS, POSITIONS, jnp.zeros_like(TOKENS)),
    )


@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('scan', [False, True])
def test_states_that_are_read_equal_those_of_all_and_so_do_gradients(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat)
    params, read = tiny.weights(arch), jnp.asarray([[8, 2, 2], [0, 5, 3], [6, 1, 4]])

    @jax.jit
    def few(params):
        return decoder.hidden(arch, params, TOKENS, RESTART, SEGMENTS, read)

    @jax.jit
    def some(params):
        states = decoder.hidden(arch, params, TOKENS, RESTART, SEGMENTS)
        return jnp.stack([row[at] for row, at in zip(states, read, strict=True)])

    def gradient(states):
        return jax.jit(jax.grad(lambda params: jnp.sum(jnp.sin(states(params)))))

    assert few(params).shape == (*read.shape, arch.width)
    got, want = gradient(few)(params), gradient(some)(params)
    chex.assert_trees_all_close(few(params), some(params), atol=2e-5)
    chex.assert_trees_all_close(got, want, atol=2e-4)


def test_the_last_block_computes_what_is_read_only():
    """The work of a looped decoder falls with the slots that are read."""
    params, read = tiny.weights(), jnp.full((len(TOKENS), 1), 8)

    def flops(*read):
        program = jax.jit(functools.partial(decoder.hidden, tiny.ARCH))
        cost = program.lower(params, TOKENS, POSITIONS, None, *read).compile()
        return cost.cost_analysis()['flops']

    assert flops(read) < (1 - 0.4 / tiny.ARCH.layers) * flops()


@pytest.mark.parametrize('changed', [0, 4, 8])
def test_the_future_does_not_reach_the_past(changed):
    params = tiny.weights()
    segments = jnp.zeros_like(TOKENS)
    other = TOKENS.at[:, changed].set((TOKENS[:, changed] + 1) % 32)
    a, b = (logits(tiny.ARCH, params, t, POSITIONS, segments) for t in (TOKENS, other))
    np.testing.assert_array_equal(a[:, :changed], b[:, :changed])
    assert np.all(np.abs(a - b)[:, changed:].max((0, 2)) > 0)


def test_segments_are_isolated():
    params = tiny.weights()
    other = TOKENS.at[:, 3].set((TOKENS[:, 3] + 1) % 32)
    a, b = (
        np.asarray(logits(tiny.ARCH, params, t, RESTART, SEGMENTS))
        for t in (TOKENS, other)
    )
    # slot 3 is in segment 1 of the first row and 2 of the second
    unseen = SEGMENTS[:, 3:4] != SEGMENTS
    unseen[2] = np.arange(9) < 3
    np.testing.assert_array_equal(a[unseen], b[unseen])
    assert np.all(np.abs(a - b).max(-1)[0, 3:6] > 0)


def test_padding_reaches_nothing():
    params = tiny.weights()
    other = jnp.where(SEGMENTS < 0, (TOKENS + 5) % 32, TOKENS)
    a, b = (
        np.asarray(logits(tiny.ARCH, params, t, RESTART, SEGMENTS))
        for t in (TOKENS, other)
    )
    np.testing.assert_array_equal(a[SEGMENTS >= 0], b[SEGMENTS >= 0])


@functools.cache
def learned(scan, remat):
    """A loss and its gradient for an adapter."""
    arch = tiny.arch(scan=scan, remat=remat)
    base, delta = tiny.weights(), tiny.adapter()

    def loss(delta, base):
        out = logits(arch, tree.bind(base, delta), TOKENS, RESTART, SEGMENTS)
        return jnp.sum(jnp.where(SEGMENTS[..., None] >= 0, jnp.sin(out), 0))

    return jax.jit(jax.value_and_grad(loss))(delta, base)


@pytest.mark.parametrize('way', [(False, True), (True, False), (True, True)])
def test_scanning_and_recomputing_change_nothing(way):
    tiny.close(learned(*way), learned(False, False), atol=2e-5)


def test_recomputing_is_in_the_program():
    def prints(remat):
        arch = tiny.arch(scan=True, remat=remat)
        f = functools.partial(logits, arch)
        return str(jax.make_jaxpr(f)(tiny.weights(), TOKENS, RESTART, SEGMENTS))

    assert 'checkpoint' in prints(True) or 'remat' in prints(True)
    assert 'checkpoint' not in prints(False) and 'remat' not in prints(False)


def test_bfloat16_is_near_float32():
    exact = logits(tiny.ARCH, tiny.weights(), TOKENS, RESTART, SEGMENTS)
    params = tiny.weights(dtype=jnp.bfloat16)
    states = decoder.hidden(tiny.arch(dtype='bfloat16'), params, TOKENS, RESTART)
    assert states.dtype == jnp.bfloat16
    near = logits(tiny.arch(dtype='bfloat16'), params, TOKENS, RESTART, SEGMENTS)
    assert near.dtype == jnp.float32
    error = np.abs(near - exact)[SEGMENTS >= 0].max()
    assert error < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize('layout', ['halves', 'pairs'])
def test_rotation_depends_on_distance_alone(layout):
    arch = tiny.arch(rope_layout=layout, head_width=8)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 1, 1, 1, 8)), jnp.float32)

    def product(at, to):
        q, k = (
            rotate(arch, v, rotations(arch, jnp.full((1, 1), p)))
            for v, p in zip(x, (at, to), strict=True)
        )
        return float(jnp.vdot(q, k))

    assert product(7, 4) == pytest.approx(product(33, 30), abs=1e-4)
    assert abs(product(7, 4) - product(7, 5)) > 1e-3


def test_a_missing_parameter_is_named():
    params = tiny.weights()
    del params['layers']['attention']['k']
    with pytest.raises(KeyError, match='attention/k'):
        logits(tiny.ARCH, params, TOKENS, POSITIONS, SEGMENTS)


@pytest.mark.parametrize('tied', [False, True])
def test_rows_without_a_piece_have_no_chance(tied):
    """In no softmax, entropy or divergence; all gradients are numbers."""
    arch = tiny.arch(tied=tied, pieces=28)
    params, whole = tiny.weights(arch), tiny.arch(tied=tied)
    got = logits(arch, params, TOKENS % 28, POSITIONS, None)
    every = logits(whole, params, TOKENS % 28, POSITIONS, None)
    np.testing.assert_array_equal(got[..., :28], every[..., :28])
    assert np.isneginf(got[..., 28:]).all()
    assert arch.padding == 4 and whole.padding == tiny.arch(pieces=32).padding == 0

    def numbers(params):
        x = logits(arch, params, TOKENS % 28, POSITIONS, None)
        scores = language.log_probs(x, TOKENS % 28, 0.7)
        return jnp.sum(scores + language.entropy(x, 0.7) + kl.full(x, 0.5 * x, 0.7))

    cut = every[..., :28]
    want = language.log_probs(cut, TOKENS % 28, 0.7) + language.entropy(cut, 0.7)
    want = jnp.sum(want + kl.full(cut, 0.5 * cut, 0.7))
    total, grads = jax.value_and_grad(numbers)(params)
    np.testing.assert_allclose(total, want, rtol=1e-5)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
    table = grads['embed'] if tied else grads['unembed'].T
    assert not table[28:].any() and table[:28].any()


def test_ids_without_a_piece_below_others_have_no_chance():
    arch = tiny.arch(pieces=30, holes=(0, 7, 29))
    params = tiny.weights(arch)
    got = logits(arch, params, TOKENS, POSITIONS, None)
    without = [0, 7, 29, 30, 31]
    assert np.isneginf(got[..., without]).all() and arch.padding == 5
    every = logits(tiny.ARCH, params, TOKENS, POSITIONS, None)
    rest = [i for i in range(32) if i not in without]
    np.testing.assert_array_equal(got[..., rest], every[..., rest])
    again = logits(tiny.arch(holes=[7]), params, TOKENS, POSITIONS, None)
    assert np.flatnonzero(np.isneginf(again[0, 0])).tolist() == [7]
    with pytest.raises(UserError, match=r'model\.holes: 32 is not an id'):
        tiny.arch(holes=(3, 32))


@pytest.mark.parametrize('pieces', [-1, 33])
def test_pieces_are_at_most_the_rows(pieces):
    with pytest.raises(UserError, match=r'model\.pieces'):
        tiny.arch(pieces=pieces)


def dots(arch, params):
    """The precision of every product of a forward and backward pass."""

    def loss(params):
        states = decoder.hidden(arch, params, TOKENS, POSITIONS)
        head = heads.scalar({'head': tiny.head()}, states)
        return jnp.sum(decoder.unembed(arch, params, states)) + jnp.sum(head)

    text = str(jax.make_jaxpr(jax.grad(loss))(params))
    return text.count('dot_general'), text.count('Precision.HIGHEST')


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('remat', [False, True])
def test_every_product_has_the_precision_of_the_architecture(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat)
    params = tree.bind(tiny.weights(arch), tiny.adapter(arch))
    products, highest = dots(arch, params)
    assert products > 20 and highest == 2 * products  # one of each operand
    fewer = dots(dataclasses.replace(arch, precision='default'), params)
    assert fewer[0] == products and fewer[1] < 8  # those of the head
    assert jax.config.jax_default_matmul_precision is None
