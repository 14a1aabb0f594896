"""Rewards at the right token, whatever the layout of the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.adapters import tree
from perl.data import batching
from perl.data.examples import Examples
from perl.models import decoder, heads


def comparisons(n=3, seed=0):
    """Ragged prompts, each with three ragged completions."""
    rng = np.random.default_rng(seed)

    def ids(least, most):
        return rng.integers(3, 32, rng.integers(least, most)).astype(np.int32)

    return Examples(
        [ids(2, 7) for _ in range(n)],
        [tuple(ids(1, 6) for _ in range(3)) for _ in range(n)],
        np.ones(n, np.float32),
        pad=0,
    )


@functools.partial(jax.jit, static_argnums=0)
def scored(arch, delta, batch):
    """Rewards, and the gradient of a number made of them."""

    def f(delta):
        params = tree.bind(tiny.weights(arch), delta)
        r = heads.rewards(arch, params, batch).reshape(-1, 3)
        return jnp.sum(jnp.sin(r) * jnp.arange(1.0, 4.0)[None]), r

    (_, rewards), grads = jax.value_and_grad(f, has_aux=True)(delta)
    return rewards, grads


def collated(layout, multiple=16):
    batch = batching.collate(comparisons(), range(3), layout, multiple)
    return {k: batch[k] for k in ('tokens', 'positions', 'segments', 'ends')}


def test_a_shared_prompt_gives_the_rewards_and_gradients_of_rows_apart():
    delta = {**tiny.adapter(), 'head': tiny.head()}
    apart, shared = (scored(tiny.ARCH, delta, collated(x)) for x in ('apart', 'shared'))
    tiny.close(shared, apart, atol=1e-4)
    assert np.std(apart[0]) > 0.05


def test_a_reward_is_that_of_its_row_alone_without_padding():
    delta = {'head': tiny.head()}
    got, _ = scored(tiny.ARCH, delta, collated('apart', multiple=32))
    examples = comparisons()
    params = tree.bind(tiny.weights(), delta)
    for i, k in ((0, 0), (1, 2), (2, 1)):
        row = np.concatenate([examples.prompts[i], examples.completions[i][k]])[None]
        states = decoder.hidden(tiny.ARCH, params, row, np.arange(row.size)[None])
        want = states[0, -1] @ delta['head']['kernel'] + delta['head']['bias']
        np.testing.assert_allclose(got[i, k], want, rtol=1e-4, atol=1e-5)


def test_a_fresh_head():
    made = heads.init_head(jax.random.key(0), 4095)
    assert made['kernel'].std() == pytest.approx(1 / 64, rel=0.05)
    assert made['bias'] == 0
    said = heads.head_leaves(4095)
    assert {k: x.shape for k, x in made.items()} == {
        k: x.shape for k, x in said.items()
    }


def test_the_head_is_float32_under_bfloat16():
    states = jnp.ones((1, 16), jnp.bfloat16)
    assert heads.scalar({'head': tiny.head()}, states).dtype == jnp.float32
