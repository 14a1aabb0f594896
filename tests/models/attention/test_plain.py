"""Attention to a cache, and the blocks of queries of `plain`."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seen import draw, visible

from perl.models import attention
from perl.models.attention import plain


@pytest.mark.parametrize('tokens', [1, 3])
@pytest.mark.parametrize('soft_cap', [None, 0.7])
def test_cached_equals_the_last_tokens_of_causal(tokens, soft_cap):
    q, k, v = draw()
    segments = np.asarray([[-1, -1] + [0] * 8, [0] * 10], np.int32)  # padded left
    want = attention.causal(q, k, v, segments, soft_cap=soft_cap)[:, -tokens:]
    mask = visible(2, 10, segments)[:, -tokens:]
    mask = mask[:, 0] if tokens == 1 else mask
    cache = [jnp.pad(x.swapaxes(1, 2), [(0, 0)] * 2 + [(0, 6), (0, 0)]) for x in (k, v)]
    mask = np.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, 6)])  # slots yet unwritten
    got = attention.cached(q[:, -tokens:], *cache, mask, soft_cap=soft_cap)
    np.testing.assert_allclose(got, want, atol=2e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5000), st.integers(1, 200))
def test_blocks_tile_the_row(tokens, block):
    old, plain._BLOCK = plain._BLOCK, block
    try:
        blocks = plain._blocks(tokens)
    finally:
        plain._BLOCK = old
    covered = [t for start, stop in blocks for t in range(start, stop)]
    assert covered == list(range(tokens))
    assert len(blocks) <= plain._MOST_BLOCKS
