"""Packed rows: every token is predicted once, and little is padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data import pack
from perl.data.tokenizers import Bytes
from perl.system.errors import UserError

BYTES = Bytes()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text('abc', max_size=40), min_size=1, max_size=12).filter(any),
    st.integers(2, 24),
)
def test_packing_predicts_every_token_once(texts, length):
    batch = pack(texts, BYTES, length)
    assert batch['tokens'].shape[1] == length
    documents = [[1, *BYTES.encode(text), 2] for text in texts if text]
    expected = sorted(
        pair for document in documents for pair in itertools.pairwise(document)
    )
    rows, slots = np.nonzero(batch['completion'])
    sources = batch['sources'][rows, slots]
    assert (batch['segments'][rows, sources] == batch['segments'][rows, slots]).all()
    predicted = zip(
        batch['tokens'][rows, sources].tolist(),
        batch['tokens'][rows, slots].tolist(),
        strict=True,
    )
    assert sorted(predicted) == expected
    starts = (batch['positions'] == 0) & (batch['segments'] > 0)
    assert not batch['completion'][starts].any()


def test_packing_wastes_little():
    rng = np.random.default_rng(0)
    texts = ['a' * n for n in rng.integers(5, 60, 300)]
    batch = pack(texts, BYTES, 128)
    assert (batch['segments'] > 0).mean() > 0.97
    assert (batch['ends'][:, 0] == (batch['segments'] > 0).sum(1) - 1).all()


def test_nothing_to_pack():
    with pytest.raises(UserError, match='no text'):
        pack([''], BYTES, 8)
    with pytest.raises(UserError, match='nothing to predict'):
        pack(['a'], BYTES, 1)
