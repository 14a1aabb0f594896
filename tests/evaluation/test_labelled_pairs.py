"""Figures of labels: how often a judge agrees, and how sure that is."""

import numpy as np
import pytest

from perl.data.records import Comparison
from perl.evaluation import labelled_pairs
from perl.evaluation.figures.intervals import wilson
from perl.judges import Judge
from perl.system import jsonl
from perl.system.errors import UserError


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


@pytest.mark.parametrize('order', [1, -1])
def test_a_tie_of_the_source_agrees_with_neither_side(order):
    tie = Comparison('q', ('aa', 'a')[::order], preference=0.5)
    got = agreement([Comparison('p', ('aa', 'a')), tie])
    assert (got['agreement'], got['labelled_ties'], got['ties']) == (1, 1, 0)
    assert got['agreement_ci95'] == list(wilson(1, 1))


def test_a_pair_whose_label_says_that_the_second_is_better():
    assert agreement([Comparison('p', ('a', 'aa'), preference=0.2)])['agreement'] == 1


def test_pairs_of_one_dialog_are_one_observation_and_keep_their_group():
    pairs = [Comparison(f'p{i}', ('aa', 'a'), group='dialog') for i in range(9)]
    pairs.append(Comparison('q', ('aa', 'a')))
    rows, figures = labelled_pairs.label_pairs(pairs, longer)
    assert [row.get('group') for row in rows] == ['dialog'] * 9 + [None]
    assert figures['agreement_ci95'][0] < wilson(3, 3)[0]


def test_labels_of_another_judge_stay(tmp_path):
    """The same judge may write its labels again."""
    output, pair = tmp_path / 'labels.jsonl', Comparison('p', ('a', 'bb'))
    one, other = (Judge(name, longer) for name in ('one', 'other'))
    labelled_pairs.check_output(output, one)
    figures = labelled_pairs.save(output, [pair], one)
    assert figures['labeller'] == 'one'
    labelled_pairs.check_output(output, one)
    with pytest.raises(UserError, match=r'labels\.jsonl has the labels of one; name'):
        labelled_pairs.check_output(output, other)
    with pytest.raises(UserError, match=r'labels\.json does not end in \.jsonl'):
        labelled_pairs.check_output(tmp_path / 'labels.json', one)


def test_labels_of_other_pairs_or_settings_stay(tmp_path):
    """More pairs may be added to those that are there."""
    output, pair = tmp_path / 'labels.jsonl', Comparison('p', ('a', 'bb'))
    judge, other = Judge('one', longer), Comparison('q', ('a', 'bb'))
    labelled_pairs.save(output, [pair], judge)
    labelled_pairs.save(output, [pair, other], judge)
    before = output.read_bytes()
    assert before.count(b'\n') == 2
    unsure = Judge('one', lambda *texts: longer(*texts) * 0.8 + 0.1)  # another seed
    for pairs, by, lost in (([pair], judge, 1), ([pair, other], unsure, 2)):
        with pytest.raises(UserError, match=f'has {lost} labels that this command'):
            labelled_pairs.save(output, pairs, by)
        assert output.read_bytes() == before


def test_a_file_that_is_not_of_labels_stays(tmp_path):
    output = tmp_path / 'labels.jsonl'
    output.write_text('{"mine": 1}\n')
    with pytest.raises(UserError, match=r'labels\.jsonl exists and is not from perl'):
        labelled_pairs.check_output(output, Judge('one', longer))


def test_killed_between_the_summary_and_the_labels(tmp_path, monkeypatch):
    """The same command may then write them, whichever of the two came first."""
    output, pair = tmp_path / 'labels.jsonl', Comparison('p', ('a', 'bb'))
    judge = Judge('one', longer)
    for function in ('save', 'save_rows'):
        output.unlink(missing_ok=True)
        written = getattr(jsonl, function)

        def killed(*args, written=written):
            written(*args)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(jsonl, function, killed)
            with pytest.raises(KeyboardInterrupt):
                labelled_pairs.save(output, [pair], judge)
        labelled_pairs.check_output(output, judge)
        assert labelled_pairs.save(output, [pair], judge)['labelled'] == 1
