"""DoRA where a weight's norm is zero, and where layers have scales of their own."""

import jax
import jax.numpy as jnp
import numpy as np

from perl.weights import Dora, dense, einsum


def drawn(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_an_output_without_weights_stays_zero():
    kernel = drawn((6, 4), 0).at[:, 2].set(0)
    fresh = Dora(
        drawn((6, 2), 1), jnp.zeros((2, 4)), jnp.linalg.norm(kernel, axis=0), 1
    )
    np.testing.assert_allclose(dense(fresh.bind(kernel)), kernel, rtol=1e-6)
    x = drawn((3, 5, 6), 2)

    def loss(adapter):
        return jnp.sum(einsum('btd,df->btf', x, adapter.bind(kernel)) ** 2)

    gradients = jax.tree.leaves(jax.grad(loss)(fresh))
    assert all(np.all(np.isfinite(g)) for g in gradients)
    mean = Dora.combine([fresh, fresh], [0.5, 0.5], 0, kernel)
    np.testing.assert_allclose(dense(mean.bind(kernel)), kernel, rtol=1e-6)


def test_scales_of_layers():
    a, b, scales = drawn((2, 6, 3), 1), drawn((2, 3, 4), 2), (2.0, 0.3)
    kernel, magnitude = drawn((2, 6, 4), 0), jnp.abs(drawn((2, 4), 3))
    got = jax.vmap(dense)(Dora(a, b, magnitude, scales).bind(kernel))
    for i, scale in enumerate(scales):
        want = dense(Dora(a[i], b[i], magnitude[i], scale).bind(kernel[i]))
        np.testing.assert_allclose(got[i], want, atol=1e-6)
