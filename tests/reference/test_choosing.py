"""Top-k and top-p beside the logits processors of transformers."""

import jax.numpy as jnp
import numpy as np
import pytest
from hugging_face import tensor
from transformers import TopKLogitsWarper, TopPLogitsWarper

from perl.rollout.choosing import Sampling, cut

LOGITS = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32) * 3


@pytest.mark.parametrize('k', [1, 2, 7, 50, 80])
def test_top_k(k):
    want = TopKLogitsWarper(k)(None, tensor(LOGITS)).numpy()
    np.testing.assert_array_equal(
        cut(jnp.asarray(LOGITS), Sampling(4, None, top_k=k)), want
    )


@pytest.mark.parametrize('p', [0.01, 0.3, 0.9, 0.97])
def test_top_p(p):
    want = TopPLogitsWarper(p)(None, tensor(LOGITS)).numpy()
    np.testing.assert_array_equal(
        cut(jnp.asarray(LOGITS), Sampling(4, None, top_p=p)), want
    )
