"""Rows in the blocks of a fused kernel, with a kernel that every platform runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from seen import PACKED, SHARED, draw, reference, visible

from perl import sharding
from perl.models.attention import cudnn, fused
from perl.models.attention.visible import whole

KERNEL = cudnn.KERNEL._replace(
    attend=functools.partial(cudnn.attend, implementation='xla'), block=4
)
ROWS = np.array([SHARED, SHARED[::-1], PACKED, [-1] * 3 + [0] * 7], np.int32)


def attend(q, k, v, segments, window=None, positions=None, kernel=KERNEL):
    rows = whole(q.shape[1], segments, positions, window)
    return fused.causal(kernel, q, k, v, rows, window, scale=None, soft_cap=None)


def test_padding_sees_itself_and_all_others_what_the_segments_say():
    def show(q, k, v, mask, scale, soft_cap):
        """The mask as if it were the output of one head."""
        rest = ((0, 0), (0, 0), (0, 10 - mask.shape[2]))
        return jnp.pad(mask, rest)[:, :, None]

    kernel = KERNEL._replace(attend=show)
    masks = attend(*draw(batch=4), jnp.asarray(ROWS), kernel=kernel)[:, :, 0]
    want = visible(4, 10, ROWS) | np.eye(10, dtype=bool)
    np.testing.assert_array_equal(masks, want)


def test_causal_rows_need_no_mask():
    given = []

    def note(q, k, v, mask, scale, soft_cap):
        given.append((q.shape, mask))
        return q

    attend(*draw(), None, kernel=KERNEL._replace(attend=note))
    assert given == [((2, 10, 4, 8), None)]


@pytest.mark.parametrize('kv_heads', [4, 1])
@pytest.mark.parametrize('windowed', [False, True])
@pytest.mark.parametrize('shape', [(2, 2, 1), (1, 2, 4), (4, 1, 2)])
def test_a_mesh_changes_no_number(shape, windowed, kv_heads):
    """Also where the key heads are too few to be divided."""
    q, k, v = draw(batch=4, heads=4, kv_heads=kv_heads)
    window = jnp.asarray(3) if windowed else None  # an array, as in a scan over layers
    positions = jnp.broadcast_to(jnp.arange(10), (4, 10)) if windowed else None
    real = ROWS >= 0
    weight = real[..., None, None].astype(np.float32)

    def loss(q, k, v):
        out = attend(q, k, v, jnp.asarray(ROWS), window, positions)
        return (out * weight).sum(), out

    grad = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    (_, one), alone = jax.jit(grad)(q, k, v)
    with jax.set_mesh(sharding.make_mesh(*shape)):
        (_, many), shared = jax.jit(grad)(q, k, v)
    np.testing.assert_allclose(many, one, atol=1e-6)
    for a, b in zip(shared, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-6)
    want = reference(q, k, v, visible(4, 10, ROWS, 3 if windowed else None))
    np.testing.assert_allclose(one[real], want[real], atol=2e-6)
