"""Compares two policies on the same held-out prompts: rewards, KL and win rate."""

from typing import Any

import numpy as np

from perl.evaluation.answers import answer
from perl.evaluation.figures import resampling, winrate
from perl.evaluation.figures.clusters import of_prompts
from perl.judges import Judge, both_orders, each, preference
from perl.runs.judging import open_judge
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.runs.teachers import taught
from perl.system.errors import UserError


def compare(
    run: Run,
    policy: Role,
    against: Role,
    reward: Judge | None,
    split: str,
    judge: Judge | None = None,
    trained_by: tuple[str, str] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Compares a policy with another, usually with the one that it started from.

    Args:
        run: the run.
        policy, against: the two policies.
        reward: scores both, usually the reward that the policy was trained on; None for
            no scores.
        split: the split of the prompts; the first `evaluation.prompts` are used.
        judge: decides which policy wins; by default the exact reward of the dataset,
            or `reward` if there is none. Without any of them no policy wins.
        trained_by: the reward that trained the policy, see `lineage.trained_by`; None
            if unknown.

    Returns:
        Figures with stable keys, and one row of texts and scores per prompt. `judge` is
        the judge's name, judge_model the name of its language model if it is one.
        judge_trained_the_policy tells whether the policy was trained on this judge's
        rewards (see `teachers.taught`), which makes its verdicts less informative; None
        if unknown.
    """
    prompts = held_out_prompts(run, split)
    if not prompts:
        raise UserError(f'{run.dataset.name} has no prompts in its {split} split')
    clusters = of_prompts(prompts, run.dataset.prompt_groups)
    gold = run.dataset.gold
    judge = judge or (open_judge('gold', run) if gold else reward)
    new = answer(run, prompts, policy, against, reward, seed=1)
    old = answer(run, prompts, against, policy, reward, seed=2)
    rows = _rows(prompts, old, new, gold)
    figures = {
        'prompts': len(prompts),
        **(_before_and_after('reward', rows, clusters) if reward else {}),
        **_sampled(new, old),
        **(_before_and_after('gold', rows, clusters) if gold else {}),
    }
    if judge is None:
        return figures, rows
    decide = preference(_scored(rows)) if judge is reward else judge.preference
    labels = both_orders(decide, prompts, new.texts, old.texts)
    for row, verdict in zip(rows, labels.won, strict=True):
        row['won'] = float(verdict)
    is_trainer = None if trained_by is None else taught(run, trained_by, judge)
    return {
        **figures,
        'judge': judge.name,
        **({'judge_model': judge.model} if judge.model else {}),
        'judge_trained_the_policy': is_trainer,
        'unanswered': labels.unanswered,
        **judge.report(),
        **winrate.win_metrics(labels.won, labels.biased, clusters),
    }, rows


def held_out_prompts(run: Run, split: str) -> list[str]:
    """The prompts of a split that policies are compared on; if it has no prompts, those
    of its comparisons."""
    prompts = run.dataset.prompts[split]
    if not prompts:
        compared = run.dataset.comparisons[split]
        prompts = list(dict.fromkeys(comparison.prompt for comparison in compared))
    return prompts[: run.config.evaluation.prompts]


def _sampled(new, old):
    """Figures of the responses that no judge is needed for."""
    return {
        'kl': float(new.kl.mean()),
        'response_length': float(new.lengths.mean()),
        'response_length_before': float(old.lengths.mean()),
        'no_eos': float(1 - new.finished.mean()),
    }


def _rows(prompts, old, new, gold):
    """One row of texts and scores per prompt."""
    rows = [
        {'prompt': prompt, 'reference': a, 'response': b}
        for prompt, a, b in zip(prompts, old.texts, new.texts, strict=True)
    ]
    if new.rewards is not None:
        for row, a, b in zip(rows, old.rewards, new.rewards, strict=True):
            row |= {'reward_reference': float(a), 'reward': float(b)}
    for row in rows if gold else ():
        row['gold_reference'] = gold(row['prompt'], row['reference'])
        row['gold'] = gold(row['prompt'], row['response'])
    return rows


def _before_and_after(name, rows, clusters):
    """The mean reward before and after, and the interval of the mean after, over the
    responses that have a reward."""
    before = np.array([row[f'{name}_reference'] for row in rows])
    after = np.array([row[name] for row in rows])
    known = np.isfinite(after)
    interval = resampling.bootstrap(
        resampling.mean(after[known]), int(known.sum()), clusters[known]
    )
    return {
        f'{name}_before': float(np.nanmean(before)),
        f'{name}_after': float(after[known].mean()),
        f'{name}_ci95': interval,
    }


def _scored(rows):
    """A reward that looks up the known scores of the sampled responses."""
    known = {}
    for row in rows:
        known[row['prompt'], row['reference']] = row['reward_reference']
        known[row['prompt'], row['response']] = row['reward']
    return each(lambda *pair: known[pair])
