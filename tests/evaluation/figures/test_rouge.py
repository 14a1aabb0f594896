import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.evaluation.figures import rouge
from perl.evaluation.figures.intervals import wilson

texts = st.lists(st.sampled_from(['ab', 'c']), max_size=7).map(' '.join)


def test_by_hand():
    # words shared: 3 of 4 and 3; bigrams: 'the cat' of 3 and 2; subsequence: the cat
    got = rouge.rouge('The cat is here', 'here: the CAT!')
    assert got['rouge1'] == pytest.approx(6 / 7)
    assert got['rouge2'] == pytest.approx(2 / 5)
    assert got['rougeL'] == pytest.approx(4 / 7)


# rouge_score 0.1.2: RougeScorer(['rouge1', 'rouge2', 'rougeL']).score(reference, said)
@pytest.mark.parametrize(
    'reference, said, want',
    [
        ('The cat sat on the mat.', 'On the mat sat the cat!', (1.0, 0.6, 0.5)),
        (
            'A table for two, on Friday at 7.',
            'Two on Friday: a table at 7 is booked for two.',
            (0.8421052631578948, 0.588235294117647, 0.5263157894736842),
        ),
        ('Naïve café', 'naive cafe', (0.0, 0.0, 0.0)),
    ],
)
def test_the_figures_of_rouge_score(reference, said, want):
    np.testing.assert_allclose(list(rouge.rouge(reference, said).values()), want)


@given(texts, texts)
def test_the_longest_common_subsequence_by_trying_all(a, b):
    x, y = rouge.words(a), rouge.words(b)
    both = [
        {c for n in range(8) for c in itertools.combinations(text, n)}
        for text in (x, y)
    ]
    longest = max(map(len, both[0] & both[1]))
    want = 2 * longest / (len(x) + len(y)) if longest else 0
    assert rouge.rouge(a, b)['rougeL'] == pytest.approx(want)


@given(texts, texts)
def test_laws(a, b):
    got = rouge.rouge(a, b)
    assert got == rouge.rouge(b, a)
    assert 0 <= got['rougeL'] <= got['rouge1'] <= 1
    assert got['rouge2'] <= 1
    if len(rouge.words(a)) > 1:
        assert set(rouge.rouge(a, a).values()) == {1.0}


def test_the_nearest_reference_counts():
    got = rouge.best_rouge(['x', 'a b', 'b a'], 'a b')
    assert set(got.values()) == {1.0}
    got = rouge.rouge_metrics([['a b'], ['a', 'x']], ['a b', 'y'])
    assert (got['n'], got['rouge1'], got['rouge2']) == (2, 0.5, 0.5)
    assert got['ci95']['rouge1'] == list(wilson(1, 2))
    one = rouge.rouge_metrics([['a b'], ['a']] * 9, ['a b', 'y'] * 9, ['d'] * 18)
    assert one['ci95']['rouge1'] == list(wilson(0.5, 1))


def test_lengths():
    got = rouge.length_metrics(['one two', '', 'three-four five  six'])
    assert got == {
        'words': pytest.approx(5 / 3),
        'words_median': 2,
        'characters': 9,
        'characters_median': 7,
    }
