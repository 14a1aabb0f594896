"""Figures of labels: how often a judge agrees, and how sure that is."""

import numpy as np

from perl.data.records import Comparison
from perl.evaluation import labelled_pairs
from perl.evaluation.figures.intervals import wilson


def longer(prompts, firsts, seconds):
    lead = np.sign([len(a) - len(b) for a, b in zip(firsts, seconds, strict=True)])
    return (1 + lead) / 2


def agreement(pairs):
    return labelled_pairs.label_pairs(pairs, longer, lambda prompt, text: len(text))[1]


def test_pairs_of_one_prompt_are_one_observation():
    alike = [Comparison('prompt', ('aa', 'a') if i % 4 else ('a', 'aa'))
             for i in range(40)]  # fmt: skip
    apart = [Comparison(f'prompt {i}', x.completions) for i, x in enumerate(alike)]
    one, other = agreement(alike), agreement(apart)
    assert one['agreement'] == other['agreement'] == 0.75
    assert one['agreement_ci95'] == list(wilson(0.75, 1))
    assert other['agreement_ci95'] == list(wilson(30, 40))
    # agreeing always is not certain
    assert other['gold_agreement'] == 1
    assert other['gold_agreement_ci95'] == list(wilson(40, 40))


def test_without_a_pair_that_gold_decides_there_is_no_agreement():
    got = agreement([Comparison('p', ('a', 'b'))])
    assert got['gold_agreement'] is None and got['ties'] == 1


def test_pairs_of_one_dialog_are_one_observation_and_keep_their_group():
    pairs = [Comparison(f'p{i}', ('aa', 'a'), group='dialog') for i in range(9)]
    pairs.append(Comparison('q', ('aa', 'a')))
    rows, figures = labelled_pairs.label_pairs(pairs, longer)
    assert [row.get('group') for row in rows] == ['dialog'] * 9 + [None]
    assert figures['agreement_ci95'][0] < wilson(3, 3)[0]
