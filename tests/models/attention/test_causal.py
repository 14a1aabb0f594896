"""Attention against a loop over queries, and the laws it must keep."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seen import PACKED, SHARED, draw, reference, visible

from perl.models import attention
from perl.models.attention import cudnn, plain, table


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 queries, so that tiny rows have several."""
    monkeypatch.setattr(plain, '_BLOCK', 4)


@pytest.mark.parametrize('options', [{}, {'soft_cap': 0.7}, {'scale': 0.3}])
@pytest.mark.parametrize('window', [None, 1, 3])
@pytest.mark.parametrize('segments', [None, SHARED, PACKED])
@pytest.mark.usefixtures('small_blocks')
def test_causal_equals_a_loop_over_queries(segments, window, options):
    q, k, v = draw()
    if segments is not None:
        segments = np.stack([segments, segments[::-1]]).astype(np.int32)
    seen = visible(2, 10, segments, window)
    want = reference(q, k, v, seen, **options)
    got = attention.causal(q, k, v, segments, window=window, **options)
    rows = seen.any(axis=-1)
    np.testing.assert_allclose(got[rows], want[rows], atol=2e-6)


@pytest.mark.parametrize('window', [None, 3])
@pytest.mark.parametrize('segments', [None, SHARED, PACKED])
def test_queries_that_are_read_equal_those_of_all(segments, window):
    q, k, v = draw()
    if segments is not None:
        segments = jnp.asarray([segments, segments[::-1]], jnp.int32)
    read = jnp.asarray([[9, 0, 4], [3, 3, 8]])
    few = jnp.stack([q[b, read[b]] for b in range(2)])
    got = attention.causal(few, k, v, segments, read, window=window, soft_cap=0.7)
    want = attention.causal(q, k, v, segments, window=window, soft_cap=0.7)
    want = np.stack([want[b, read[b]] for b in range(2)])
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_many_queries_that_are_read_have_few_scores_at_a_time(monkeypatch):
    """Where rows have a fused kernel: values and gradients stay, and no block of
    scores is kept for the pass backward."""
    tokens, read = 256, 120  # a part is filled up
    q, k, v = draw(tokens)
    slots = jnp.broadcast_to(jnp.arange(read), (2, read)) + tokens - read

    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
    def loss(q, k, v):
        return jnp.sum(attention.causal(q, k, v, None, slots, window=9) ** 2)

    def run(kernel):
        monkeypatch.setattr(table, 'choose', lambda *_: kernel)
        monkeypatch.setattr(sys.modules[attention.causal.__module__], '_FEW', 16)
        program = jax.jit(lambda *x: loss(*x)).lower(q[:, -read:], k, v).compile()
        memory = program.memory_analysis().temp_size_in_bytes
        return program(q[:, -read:], k, v), memory

    (want, whole), (got, blocks) = run(None), run(cudnn.KERNEL)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert blocks < whole / 3


@pytest.mark.parametrize('heads, kv_heads', [(4, 4), (4, 1), (6, 2)])
def test_grouped_queries_share_their_key_head(heads, kv_heads):
    q, k, v = draw(heads=heads, kv_heads=kv_heads)
    got = attention.causal(q, k, v)
    np.testing.assert_allclose(got, reference(q, k, v, visible(2, 10)), atol=2e-6)


@pytest.mark.usefixtures('small_blocks')
@pytest.mark.parametrize('changed', [0, 3, 4, 9])
def test_the_future_does_not_reach_the_past(changed):
    q, k, v = draw()
    before = attention.causal(q, k, v)
    after = attention.causal(*(x.at[:, changed].add(1.0) for x in (q, k, v)))
    np.testing.assert_array_equal(before[:, :changed], after[:, :changed])
    assert not np.allclose(before[:, changed], after[:, changed])


def test_completions_of_a_shared_prompt_equal_rows_apart():
    q, k, v = draw(batch=1)
    together = attention.causal(q, k, v, jnp.asarray([SHARED]))[0]
    second = np.asarray([0, 1, 2, 5, 6, 7])  # the prompt, then the second completion
    apart = attention.causal(*(x[:, second] for x in (q, k, v)))[0]
    np.testing.assert_allclose(together[second], apart, atol=2e-6)


@pytest.mark.usefixtures('small_blocks')
@pytest.mark.parametrize('options', [{}, {'soft_cap': 0.7, 'window': 3}])
def test_gradients_equal_finite_differences(options):
    q, k, v = draw(tokens=6, heads=2, kv_heads=1, width=4)
    segments = np.asarray([SHARED[:6], PACKED[:6]], np.int32)
    seen = visible(2, 6, segments, options.get('window'))
    scores = {name: x for name, x in options.items() if name != 'window'}
    weight = np.random.default_rng(1).normal(size=q.shape)

    def loss(q, k, v):
        return (attention.causal(q, k, v, segments, **options) * weight).sum()

    got = jax.grad(loss, argnums=(0, 1, 2))(q, k, v)
    arrays = [np.asarray(x, np.float64) for x in (q, k, v)]
    for which, cell in [(0, 5), (0, 20), (1, 3), (1, 17), (2, 9), (2, 30)]:
        ends = []
        for step in (1e-5, -1e-5):
            moved = [x.copy() for x in arrays]
            moved[which].flat[cell] += step
            ends.append((reference(*moved, seen, **scores) * weight).sum())
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(got[which].ravel()[cell], slope, atol=2e-5)


def test_rows_that_see_nothing_are_finite_and_so_are_their_gradients():
    q, k, v = draw()
    padding = jnp.full((2, 10), -1)
    assert np.isfinite(attention.causal(q, k, v, padding)).all()
    grads = jax.grad(
        lambda *x: attention.causal(*x, padding, soft_cap=5.0).sum(), argnums=(0, 1, 2)
    )(q * 100, k * 100, v)
    assert all(np.isfinite(g).all() for g in grads)
    nothing = jnp.zeros((2, 10), bool)
    out = attention.cached(q[:, :1], k.swapaxes(1, 2), v.swapaxes(1, 2), nothing)
    assert np.isfinite(out).all()


def test_softmax_stays_float32_under_bfloat16():
    q, k, v = draw(dtype=jnp.bfloat16)
    out = attention.causal(q, k, v)
    assert out.dtype == jnp.bfloat16
    want = reference(q, k, v, visible(2, 10))
    np.testing.assert_allclose(out.astype(np.float32), want, atol=2e-2)
    text = str(jax.make_jaxpr(attention.causal)(q, k, v))
    exps = [line for line in text.splitlines() if ' = exp ' in line]
    assert exps and all('f32' in line for line in exps)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(-1, 3), min_size=6, max_size=6), st.integers(0, 99))
def test_any_segments_equal_the_loop(segments, seed):
    q, k, v = draw(tokens=6, batch=1, seed=seed)
    segments = np.asarray([segments], np.int32)
    seen = visible(1, 6, segments)
    got = jax.jit(attention.causal)(q, k, v, segments)
    rows = seen.any(axis=-1)
    np.testing.assert_allclose(got[rows], reference(q, k, v, seen)[rows], atol=2e-6)
