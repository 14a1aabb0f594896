"""Two policies on the same held-out prompts: rewards, KL, win rate, samples."""

from typing import Any

import numpy as np

from perl.evaluation.answers import answer
from perl.evaluation.figures import resampling, winrate
from perl.evaluation.figures.clusters import of_prompts
from perl.judges import Judge, both_orders, each, preference
from perl.runs.judging import open_judge
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system.errors import UserError


def compare(
    run: Run,
    policy: Role,
    against: Role,
    reward: Judge,
    split: str,
    judge: Judge | None = None,
    trained_by: tuple[str, str] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Plays a policy against another (usually the one that it started from).

    Args:
        run: what all stages share.
        policy, against: the two.
        reward: scores both, usually the reward that the policy was trained on.
        split: of the prompts, the first `evaluation.prompts` of them.
        judge: decides who wins; by default the exact reward of the dataset, or where
            it has none, `reward`.
        trained_by: whose rewards trained the policy, see `lineage.trained_by`; None
            where nobody knows.

    Returns:
        Figures with stable keys, and one row of text and scores a prompt. `judge` says
        who decided, judge_model which language model that is, where it is one, and
        judge_trained_the_policy whether its rewards are those that the policy was
        trained to get, so that its verdict says little; None where nobody knows.
    """
    prompts = run.dataset.prompts[split][: run.config.evaluation.prompts]
    if not prompts:
        raise UserError(f'{run.dataset.name} has no prompts in its {split} split')
    clusters = of_prompts(prompts, run.dataset.prompt_groups)
    gold = run.dataset.gold
    judge = judge or (open_judge('gold', run) if gold else reward)
    new = answer(run, prompts, policy, against, reward, seed=1)
    old = answer(run, prompts, against, policy, reward, seed=2)
    rows = _rows(prompts, old, new, gold)
    decide = preference(_scored(rows)) if judge is reward else judge.preference
    labels = both_orders(decide, prompts, new.texts, old.texts)
    for row, verdict in zip(rows, labels.won, strict=True):
        row['won'] = float(verdict)
    by_trainer = trained_by and trained_by == (judge.name, judge.model)
    return {
        'prompts': len(prompts),
        **_moved('reward', rows, clusters),
        'kl': float(new.kl.mean()),
        'response_length': float(new.lengths.mean()),
        'response_length_before': float(old.lengths.mean()),
        'no_eos': float(1 - new.finished.mean()),
        **(_moved('gold', rows, clusters) if gold else {}),
        'judge': judge.name,
        **({'judge_model': judge.model} if judge.model else {}),
        'judge_trained_the_policy': by_trainer,
        'unanswered': labels.unanswered,
        **judge.report(),
        **winrate.win_metrics(labels.won, labels.biased, clusters),
    }, rows


def _rows(prompts, old, new, gold):
    """One row of text and scores a prompt."""
    rows = [
        {
            'prompt': prompt,
            'reference': a,
            'response': b,
            'reward_reference': float(x),
            'reward': float(y),
        }
        for prompt, a, b, x, y in zip(
            prompts, old.texts, new.texts, old.rewards, new.rewards, strict=True
        )
    ]
    for row in rows if gold else ():
        row['gold_reference'] = gold(row['prompt'], row['reference'])
        row['gold'] = gold(row['prompt'], row['response'])
    return rows


def _moved(name, rows, clusters):
    """The mean of a reward before and after, and the interval of the latter, over the
    responses that have one."""
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
    """The reward that looks up the scores which the sampled responses have."""
    known = {}
    for row in rows:
        known[row['prompt'], row['reference']] = row['reward_reference']
        known[row['prompt'], row['response']] = row['reward']
    return each(lambda *pair: known[pair])
