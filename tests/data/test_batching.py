"""The laws of a batch: positions, segments, sources and ends, in both layouts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data import (
    Comparison,
    bucket,
    collate,
    encode,
    left,
)
from perl.data.ordering import shapes
from perl.data.tokenizers import Bytes
from perl.system.errors import UserError

BYTES = Bytes()
WORD = st.text('abc', min_size=1, max_size=9)
PROMPT = st.text('xyz', max_size=9)


# different after they are cut to eight tokens
WORDS = st.lists(WORD, min_size=2, max_size=4, unique_by=lambda word: word[:8])
COMPARISONS = st.lists(
    st.builds(Comparison, PROMPT, WORDS.map(tuple)), min_size=1, max_size=4
)


def examples_of(records):
    return encode(records, BYTES, 8, 8)[0]


@settings(max_examples=60, deadline=None)
@given(COMPARISONS, st.sampled_from(['apart', 'shared']))
def test_every_completion_sees_its_prompt_and_itself(records, layout):
    examples = examples_of(records)
    batch = collate(examples, range(len(records)), layout, multiple=8)
    K = max(len(record.completions) for record in records)
    assert (
        batch['ends'].shape
        == ((len(records) * K, 1), (len(records), K))[layout == 'shared']
    )
    for b, (prompt, completions) in enumerate(
        zip(examples.prompts, examples.completions, strict=True)
    ):
        for k, completion in enumerate(completions):
            row, e = (b * K + k, 0) if layout == 'apart' else (b, k)
            end = batch['ends'][row, e]
            seen = visible(batch, row, end)
            assert batch['tokens'][row, seen].tolist() == [*prompt, *completion]
            assert batch['positions'][row, seen].tolist() == list(range(len(seen)))
            target = batch['completion'][row, seen]
            assert target.tolist() == [False] * len(prompt) + [True] * len(completion)
            assert batch['sources'][row, seen][1:].tolist() == seen[:-1].tolist()


def visible(batch, row, slot):
    """The slots that `slot` may look at, by the rule that the model uses."""
    segments = batch['segments'][row]
    before = np.arange(len(segments)) <= slot
    own = (segments == segments[slot]) | (segments == 0)
    return np.flatnonzero(before & (segments >= 0) & own)


@settings(max_examples=40, deadline=None)
@given(COMPARISONS)
def test_layouts_hold_the_same_targets(records):
    examples = examples_of(records)
    indices = range(len(records))
    apart = collate(examples, indices, 'apart')
    shared = collate(examples, indices, 'shared')
    for batch in (apart, shared):
        assert batch['labels'].tolist() == [1] * len(records)
        np.testing.assert_array_equal(
            batch['tokens'][batch['segments'] < 0], examples.pad
        )
    targets = [batch['tokens'][batch['completion']] for batch in (apart, shared)]
    np.testing.assert_array_equal(*targets)


@pytest.mark.parametrize('layout', ['apart', 'shared'])
def test_pad_that_is_eos_changes_nothing(layout):
    examples = examples_of([Comparison('x', ('a', 'bcd')), Comparison('', ('a', 'b'))])
    twin = dataclasses.replace(examples, pad=BYTES.eos)
    first = collate(examples, [0, 1], layout)
    second = collate(twin, [0, 1], layout)
    real = first['segments'] >= 0
    assert (second['tokens'][~real] == BYTES.eos).all() and not real.all()
    for name in set(first) - {'tokens'}:
        np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_array_equal(first['tokens'][real], second['tokens'][real])


RANKINGS = [
    Comparison('x', ('a', 'b', 'c')),
    Comparison('yy', ('d', 'eee')),
    Comparison('x', ('c', 'b')),
]


@pytest.mark.parametrize('layout', ['apart', 'shared'])
def test_rankings_of_different_lengths(layout):
    batch = collate(examples_of(RANKINGS), [1, 0], layout, multiple=8)
    present = batch['present']
    assert present.dtype == bool and present.tolist() == [[1, 1, 0], [1, 1, 1]]
    # the last completion stands for the one that is not there
    ends = batch['ends'].reshape(2, 3)
    rows = np.arange(6).reshape(2, 3) if layout == 'apart' else [[0] * 3, [1] * 3]
    assert batch['tokens'][rows, ends].tolist() == [[BYTES.eos] * 3] * 2
    before = batch['tokens'][rows, ends - 1] - 3
    assert bytes(before.ravel().tolist()) == b'deeabc'
    alike = collate(examples_of(RANKINGS), [1, 2], layout)
    assert 'present' not in alike


@pytest.mark.parametrize('layout', ['apart', 'shared'])
@pytest.mark.parametrize('own', [[1], [0, 2], [0, 1, 2]])
def test_own_examples_of_a_batch(layout, own):
    examples, rows = examples_of(RANKINGS), [1, 0, 2]
    whole = collate(examples, rows, layout, multiple=4)
    part = collate(examples, rows, layout, multiple=4, own=own)
    assert part.keys() == whole.keys()
    for name, x in whole.items():
        x = x.reshape(3, -1, *x.shape[1:])[own].reshape(-1, *x.shape[1:])
        assert part[name].dtype == x.dtype
        np.testing.assert_array_equal(part[name], x)


def test_examples_of_like_shapes_come_together():
    records = [*RANKINGS, Comparison('x' * 7, ('a', 'b'))]
    numbers = shapes(examples_of(records))
    assert numbers.dtype == np.int64
    assert np.argsort(numbers, kind='stable').tolist() == [2, 1, 3, 0]
    assert len(set(numbers[[1, 2, 3]] >> 32)) == 1 and len(set(numbers >> 32)) == 2


def test_dtypes_and_shapes():
    batch = collate(examples_of([Comparison('x', ('a', 'b'))] * 3), [2, 0], 'shared')
    for name in ('tokens', 'positions', 'segments', 'sources'):
        assert batch[name].dtype == np.int32 and batch[name].shape == (2, 32)
    assert batch['completion'].dtype == bool
    assert 'present' not in batch
    assert batch['ends'].shape == (2, 2) and batch['ends'].dtype == np.int32
    assert batch['labels'].dtype == np.float32


def test_bare_prompts_do_not_train():
    with pytest.raises(UserError, match='these are prompts only'):
        collate(examples_of(['p']), [0])
    with pytest.raises(UserError, match="'together'"):
        collate(examples_of(['p']), [0], 'together')


@given(st.integers(1, 5000), st.sampled_from([1, 8, 32, 64]))
def test_bucket(length, multiple):
    size = bucket(length, multiple)
    assert size >= length and size % multiple == 0
    assert size - length < max(multiple, size / 8)
    assert bucket(size, multiple) == size


def test_buckets_are_few():
    sizes = sorted({bucket(length) for length in range(1, 1025)})
    assert sizes == [*range(32, 513, 32), *range(576, 1025, 64)]
    few = sorted({bucket(count, 1, steps=2) for count in range(1, 65)})
    assert few == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]


@given(st.lists(PROMPT, min_size=1, max_size=5), st.integers(0, 3))
def test_left(texts, pad):
    prompts = examples_of(texts).prompts
    batch = left(prompts, pad, multiple=4)
    assert batch['tokens'].dtype == batch['lengths'].dtype == np.int32
    for row, length, prompt in zip(
        batch['tokens'], batch['lengths'], prompts, strict=True
    ):
        assert row[len(row) - length :].tolist() == prompt.tolist()
        assert (row[: len(row) - length] == pad).all()
