"""What cuDNN is given, by the implementation of JAX that takes the same arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from seen import PACKED, SHARED, draw

from perl.models import attention
from perl.models.attention import cudnn, fused
from perl.models.attention.kernel import Target
from perl.models.attention.visible import whole

H100 = Target('gpu', 'NVIDIA H100 80GB HBM3', '9.0')
A100 = Target('gpu', 'NVIDIA A100-SXM4-80GB', '8.0')


@pytest.mark.parametrize('tokens', [10, 9])
@pytest.mark.parametrize('options', [{}, {'scale': 0.3, 'window': 3}])
@pytest.mark.parametrize('segments', [None, SHARED, PACKED])
def test_equals_plain(segments, options, tokens):
    q, k, v = draw(tokens)
    if segments is not None:
        segments = jnp.asarray([segments, segments[::-1]], jnp.int32)[:, :tokens]
    real = np.ones((2, tokens), bool) if segments is None else segments >= 0
    weight = (
        np.random.default_rng(1).normal(size=q.shape)
        * np.asarray(real)[..., None, None]
    )
    window, scale = options.get('window'), options.get('scale')
    kernel = cudnn.KERNEL._replace(
        attend=functools.partial(cudnn.attend, implementation='xla'), block=4
    )

    def ours(q, k, v):
        rows = whole(tokens, segments, None, window)
        return fused.causal(kernel, q, k, v, rows, window, scale=scale, soft_cap=None)

    def plain(q, k, v):
        return attention.causal(q, k, v, segments, implementation='plain', **options)

    np.testing.assert_allclose(ours(q, k, v)[real], plain(q, k, v)[real], atol=2e-6)
    got, want = (
        jax.grad(lambda *x, f=f: (f(*x) * weight).sum(), argnums=(0, 1, 2))(q, k, v)
        for f in (ours, plain)
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_cudnn_gets_even_lengths_and_one_mask_for_all_heads(monkeypatch):
    given = {}

    def note(q, k, v, **options):
        given.update(options, shapes=[x.shape for x in (q, k, v)])
        return q

    monkeypatch.setattr(jax.nn, 'dot_product_attention', note)
    q, k, v = draw(tokens=7)
    out = cudnn.attend(q[:, :3], k, v, jnp.ones((1, 3, 7), bool), None, None)
    assert out.shape == (2, 3, 4, 8)
    assert given['shapes'] == [(2, 4, 4, 8), (2, 8, 2, 8), (2, 8, 2, 8)]
    assert given['mask'].shape == (2, 1, 4, 8)
    assert not given['mask'][..., 7].any()
    assert not given['is_causal']
    assert given['implementation'] == 'cudnn'
    cudnn.attend(q, k, v, None, None, None)
    assert given['is_causal'] and given['mask'] is None


@pytest.mark.parametrize(
    'target, dtype, width, soft_cap, why',
    [
        (Target('cpu', 'cpu'), 'bfloat16', 64, None, 'NVIDIA'),
        (Target('gpu', 'AMD Instinct MI300X'), 'bfloat16', 64, None, 'NVIDIA'),
        (Target('gpu', 'NVIDIA T4', '7.5'), 'float16', 64, None, '8.0'),
        (H100, 'float32', 64, None, 'float32'),
        (H100, 'bfloat16', 64, 50.0, 'soft cap'),
        (H100, 'bfloat16', 12, None, '12'),
        (H100, 'bfloat16', 264, None, '264'),
        (A100, 'bfloat16', 256, None, '256'),
    ],
)
def test_what_cudnn_cannot_do(target, dtype, width, soft_cap, why):
    assert why in cudnn.refusal(target, jnp.dtype(dtype), width, soft_cap)


def test_what_cudnn_can_do():
    for target, width in ((H100, 256), (A100, 128), (H100._replace(capability=''), 8)):
        for dtype in ('bfloat16', 'float16'):
            assert cudnn.refusal(target, jnp.dtype(dtype), width, None) is None
