"""What a batch predicts, against the completions that were encoded."""

import dataclasses

import numpy as np
import pytest

from perl.data import batching, examples
from perl.data.predictions import predictions
from perl.data.records import Comparison
from perl.data.tokenizers.vocabularies import Bytes

DATA, _ = examples.encode(
    [Comparison('ab', ('c', 'dd', 'eee')), Comparison('fgh', ('ii', 'j'))],
    Bytes(),
    8,
    8,
)


@pytest.mark.parametrize('layout', batching.LAYOUTS)
def test_every_token_of_a_completion_is_a_target_once(layout):
    batch = batching.collate(DATA, [1, 0], layout, 4)
    found = predictions(batch, DATA.longest_completion)
    assert found['targets'].dtype == np.int32
    rows = len(found['targets']) // 2
    for i, example in enumerate((1, 0)):
        prompt, own = DATA.prompts[example], DATA.completions[example]
        for k in range(3):
            row = i * rows + (k if rows > 1 else 0)
            chosen = found['owners'][row] == (1 if rows > 1 else k + 1)
            want = own[min(k, len(own) - 1)]  # the last fills up
            np.testing.assert_array_equal(found['targets'][row][chosen], want)
            before = batch['tokens'][row][found['sources'][row][chosen]]
            np.testing.assert_array_equal(before, [prompt[-1], *want[:-1]])


def test_batches_of_one_shape_predict_equally_many():
    """So that they share a program, whatever their own longest completion is."""
    longest = DATA.longest_completion
    shapes = {
        predictions(batching.collate(DATA, [row], 'apart', 16), longest)[
            'targets'
        ].shape[1]
        for row in (0, 1)
    }
    assert shapes == {longest} == {4}


def test_tokens_that_do_not_count_are_not_predicted():
    """Of a conversation, only what the assistant said is learned."""
    masks = [tuple(np.arange(len(x)) % 2 == 0 for x in row) for row in DATA.completions]
    data = dataclasses.replace(DATA, masks=masks)
    batch = batching.collate(data, [0], 'shared', 4)
    found = predictions(batch, data.longest_completion)
    counted = found['targets'][found['owners'] > 0]
    want = np.concatenate([x[::2] for x in data.completions[0]])
    np.testing.assert_array_equal(counted, want)
