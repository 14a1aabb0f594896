"""The kernel for TPUs, emulated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from seen import draw

from perl.models import attention
from perl.models.attention import fused, splash
from perl.models.attention.kernel import Target
from perl.models.attention.visible import whole

# tiles have 128 slots at least: tiles that are full, empty and in between
SHARED = [0] * 20 + [1] * 70 + [2] * 60 + [-1] * 10
PACKED = [1] * 30 + [2] * 100 + [3] * 25 + [-1] * 5
LEFT = [-1] * 140 + [0] * 20
KERNEL = splash.KERNEL._replace(
    attend=functools.partial(splash.attend, interpret=True), block=128
)


@pytest.mark.parametrize(
    'segments, heads, tokens, options',
    [
        (None, (2, 1), 160, {}),
        ([SHARED, SHARED[::-1]], (2, 2), 160, {'soft_cap': 2.0}),
        ([PACKED, LEFT], (4, 2), 160, {'window': 40, 'scale': 0.3}),
        ([SHARED[:101]], (2, 1), 101, {}),
    ],
    ids=['causal', 'shared prompts, a cap', 'documents, a window', 'an odd length'],
)
def test_equals_plain(segments, heads, tokens, options):
    batch = len(segments or [0])
    q, k, v = draw(tokens, batch, *heads)
    if segments is not None:
        segments = jnp.asarray(segments, jnp.int32)
    real = np.ones((batch, tokens), bool) if segments is None else segments >= 0
    weight = np.random.default_rng(1).normal(size=q.shape)
    weight = jnp.asarray(weight * np.asarray(real)[..., None, None], jnp.float32)
    window = options.get('window')

    def ours(q, k, v):
        rows = whole(tokens, segments, None, window)
        scores = {name: options.get(name) for name in ('scale', 'soft_cap')}
        return fused.causal(KERNEL, q, k, v, rows, window, **scores)

    def plain(q, k, v):
        return attention.causal(q, k, v, segments, implementation='plain', **options)

    def both(function):
        def loss(*arrays):
            out = function(*arrays)
            return (out * weight).sum(), out

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    # the library's kernel mixes dtypes and ranks, which our tests forbid
    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        (grads, out), (wanted, want) = both(ours), both(plain)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[real], want[real], atol=2e-6)
    for got, expected in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize(
    'dtype, want', [('float32', 'HIGHEST'), ('bfloat16', 'DEFAULT')]
)
def test_products_have_the_precision_that_is_set_in_the_gradient_too(dtype, want):
    q = jax.ShapeDtypeStruct((1, 128, 1, 128), dtype)
    mask = jax.ShapeDtypeStruct((1, 128, 128), bool)

    def loss(q, k, v, mask):
        with jax.default_matmul_precision('highest'):
            return splash.attend(q, k, v, mask, None, None).sum()

    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        program = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2)))(q, q, q, mask))
    # two of the forward pass, three and four of the gradients, one of o and its change
    assert program.count('dot_general[') == 10
    assert program.count('Precision.') == program.count(f'Precision.{want}') == 20


def test_the_gradient_keeps_no_mask_and_runs_no_kernel_again():
    q = jax.ShapeDtypeStruct((2, 512, 4, 128), jnp.bfloat16)
    segments = jax.ShapeDtypeStruct((2, 512), jnp.int32)
    kernel = splash.KERNEL._replace(block=128)

    def attend(q, k, v, segments):
        rows = whole(512, segments, None, None)
        return fused.causal(kernel, q, k, v, rows, None, scale=None, soft_cap=None)

    def gradient(q, k, v, segments):
        return jax.vjp(functools.partial(attend, segments=segments), q, k, v)[1]

    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        kept = jax.tree.leaves(jax.eval_shape(gradient, q, q, q, segments))
        program = jax.make_jaxpr(lambda *x: gradient(*x)(x[0]))(q, q, q, segments)
    assert all(x.dtype != bool for x in kept)
    assert max(x.size for x in kept) == q.size
    # of each of four blocks: one forward, two of the gradient
    assert str(program).count('pallas_call[') == 4 * 3


def test_what_splash_cannot_do():
    v5e = Target('tpu', 'TPU v5 lite')
    assert 'TPU' in splash.refusal(Target('cpu', 'cpu'), jnp.float32, 64, None)
    assert 'float16' in splash.refusal(v5e, jnp.float16, 64, None)
    for dtype in (jnp.bfloat16, jnp.float32):
        assert splash.refusal(v5e, dtype, 80, 50.0) is None
