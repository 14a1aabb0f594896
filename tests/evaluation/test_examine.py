"""What is asked of a finished stage, against the records and figures themselves."""

import dataclasses

import numpy as np
import pytest
import runs

from perl.data.records import Comparison, Demonstration, Rating
from perl.evaluation import examine, reward_metrics
from perl.evaluation.figures.intervals import wilson
from perl.evaluation.reward_task import reward_task
from perl.runs import opening


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('examine') / 'run'
    return opening.open_finished(runs.clone(finished, workdir))


PROMPT = 'A table for two, please.'


def rows(*pairs):
    return [
        {'prompt': PROMPT, 'reference': a, 'response': b}
        | {'reward_reference': float(len(a)), 'reward': float(len(b))}
        | {'won': (1.0 + np.sign(len(b) - len(a))) / 2}
        for a, b in pairs
    ]


def test_reward_model(opened):
    role = opened.reward_role('reward')
    found = examine.reward_model(reward_task(opened, 'reward'), role, 'test')
    want = reward_metrics.evaluate(reward_task(opened, 'reward'), role, 'test')
    for part in (found['by_margin'], *found['by_group'].values()):
        assert sum(row['n'] for row in part) == want['n']
        right = sum(row['n'] * row['accuracy'] for row in part)
        assert right / want['n'] == pytest.approx(want['accuracy'])
    assert 'better response is' in found['by_group']


def test_ratings(opened, monkeypatch):
    """A comparison's responses as two ratings; a label of 1/2 is a good one."""
    pairs = opened.dataset.comparisons
    ratings = {
        split: [
            Rating(x.prompt, text, label, (('desk', f'{len(text) % 2}'),))
            for x in records
            for label, text in zip((0.5, 0.0), x.completions, strict=True)
        ]
        for split, records in pairs.items()
    }
    config = opened.config.copy_and_resolve_references().unlock()
    config.reward.loss = 'pointwise'
    monkeypatch.setattr(opened, 'config', config)
    monkeypatch.setattr(
        opened, 'dataset', dataclasses.replace(opened.dataset, ratings=ratings)
    )
    role = opened.reward_role('reward')
    found = examine.reward_model(reward_task(opened, 'reward'), role, 'test')
    assert found['calibration']['n'] == 2 * len(pairs['test'])
    assert set(found['by_group']) == {'label', 'desk'}
    want = reward_metrics.evaluate(reward_task(opened, 'reward'), role, 'test')
    label = found['by_group']['label']
    for part in (label, found['by_margin']):
        total = sum(row['n'] * row['accuracy'] for row in part) / want['n']
        assert total == pytest.approx(want['accuracy'])


def test_groups_of_comparisons():
    texts = [('long text', 'a'), ('a', 'long text'), ('abc', 'abd')]
    records = [
        Comparison('p', pair, preference=sure, tags=(('batch', name),))
        for pair, sure, name in zip(texts, (0.6, 1.0, 1.0), 'xyx', strict=True)
    ]
    records.append(Comparison('p', ('ab', 'ab')))
    assert examine.groups(records) == {
        'better response is': ['longer', 'shorter', 'as long', 'as long'],
        'label is sure': [0.6, 1.0, 1.0, 1.0],
        'batch': ['x', 'y', 'x', 'none'],
    }


def test_many_levels_are_cut():
    records = [Comparison('p', ('a', 'b'), margin=i / 10) for i in range(60)]
    levels = examine.groups(records)['label has margin']
    assert len(set(levels)) == examine.LEVELS and levels == sorted(levels)
    assert {levels.count(x) for x in levels} == {10}


def test_policy(opened):
    made = rows(('a b', 'a b c d'), ('a', 'a b c'), ('a b c', 'a'))
    found = examine.policy(opened.dataset, made, 'test')
    controlled = found['length_control']
    assert controlled['win_rate'] == pytest.approx(2 / 3) == controlled['longer']
    assert found['lengths']['before']['words'] == 2
    assert found['lengths']['after']['words'] == pytest.approx(8 / 3)
    assert 'rouge' not in found, 'no demonstration has these prompts'


def test_the_verdicts_are_the_judges(opened):
    """And not read off the scores again: equal texts tie, whatever their tokens."""
    made = rows(('a', 'bb'), ('aa', 'b'), ('a', 'b'))
    told = [row | {'won': won} for row, won in zip(made, (1, 0.5, 1), strict=True)]
    found = examine.policy(opened.dataset, told, 'test')['length_control']
    assert found['win_rate'] == pytest.approx(2.5 / 3)


def test_overlap_with_demonstrations(opened, monkeypatch):
    shown = [Demonstration(PROMPT, 'a b'), Demonstration(PROMPT, 'c d')]
    dataset = dataclasses.replace(opened.dataset, demonstrations={'test': shown})
    monkeypatch.setattr(opened, 'dataset', dataset)
    found = examine.policy(opened.dataset, rows(('x', 'c d')), 'test')['rouge']
    assert (found['before']['rouge1'], found['after']['rouge2']) == (0, 1)


def test_harmless(opened, monkeypatch):
    exact = dataclasses.replace(opened.dataset, harmless=lambda p, r: float(r != 'bad'))
    monkeypatch.setattr(opened, 'dataset', exact)
    found = examine.policy(opened.dataset, rows(('bad', 'b'), ('a', 'b')), 'test')
    rates = [found['harmless'][when]['harmless_rate'] for when in ('before', 'after')]
    assert rates == [0.5, 1.0]


def test_the_desk_says_what_is_harmless(opened):
    found = examine.policy(opened.dataset, rows(('a', 'b')), 'test')
    assert found['harmless']['before']['n'] == 1
    plain = dataclasses.replace(opened.dataset, harmless=None)
    assert opened.dataset.harmless is not None and plain.harmless is None


def test_prompts_of_one_dialog_are_one_observation(opened, monkeypatch):
    grouped = dataclasses.replace(opened.dataset, prompt_groups={PROMPT: 'dialog'})
    monkeypatch.setattr(opened, 'dataset', grouped)
    made = rows(*[('a', 'b c')] * 20)
    other = [{**row, 'prompt': f'{PROMPT} {i}'} for i, row in enumerate(made)]
    alike, apart = (
        examine.policy(opened.dataset, x, 'test')['length_control']['strata'][0]
        for x in (made, other)
    )
    assert alike['n'] == apart['n'] == 20 and alike['win_rate'] == 1
    assert alike['win_rate_ci95'] == list(wilson(1, 1))
    assert apart['win_rate_ci95'] == list(wilson(20, 20))


def test_labelled_ties_are_told_apart(opened, monkeypatch):
    pairs = opened.dataset.comparisons
    tied = [dataclasses.replace(x, preference=0.5) for x in pairs['test'][:3]]
    test = {**pairs, 'test': tied + pairs['test'][3:]}
    monkeypatch.setattr(
        opened, 'dataset', dataclasses.replace(opened.dataset, comparisons=test)
    )
    role = opened.reward_role('reward')
    figures = reward_metrics.evaluate(reward_task(opened, 'reward'), role, 'test')
    assert figures['labelled_ties'] == 3
    assert figures['n'] == len(pairs['test']) - 3
    for one in figures['baselines'].values():
        assert (one['n'], one['labelled_ties']) == (figures['n'], 3)
    found = examine.reward_model(reward_task(opened, 'reward'), role, 'test')
    assert found['calibration']['ties']['n'] == 3
    assert found['calibration']['n'] == figures['n']
    for part in (found['by_margin'], *found['by_group'].values()):
        assert sum(row['n'] for row in part) == figures['n']


def test_nothing_but_labelled_ties(opened, monkeypatch):
    pairs = opened.dataset.comparisons
    tied = [dataclasses.replace(x, preference=0.5) for x in pairs['test']]
    monkeypatch.setattr(
        opened,
        'dataset',
        dataclasses.replace(opened.dataset, comparisons={**pairs, 'test': tied}),
    )
    role = opened.reward_role('reward')
    found = examine.reward_model(reward_task(opened, 'reward'), role, 'test')
    assert found == {'by_margin': [], 'by_group': {}}
    figures = reward_metrics.evaluate(reward_task(opened, 'reward'), role, 'test')
    assert (figures['n'], figures['labelled_ties']) == (0, len(tied))
    assert 'best_baseline' not in figures
