"""Two policies on the same held-out prompts: rewards, KL, win rate, samples."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.data import batching
from perl.data.batching import slices
from perl.evaluation.figures import resampling, winrate
from perl.evaluation.figures.clusters import of_prompts
from perl.judges import Judge, both_orders, each, preference, scores
from perl.rollout import sampler, scoring
from perl.rollout.choosing import Sampling
from perl.rollout.responses import decode
from perl.runs.judging import open_judge
from perl.runs.reward_models import check_finite
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Answers:
    """A policy's responses to n prompts.

    Attributes:
        texts: the responses.
        rewards: `[n]` float by the judge that rewards; NaN where it has no verdict.
        kl: `[n]` float32, nats of each response from the other policy (k1).
        lengths: `[n]` tokens.
        finished: `[n]` bool.
    """

    texts: list[str]
    rewards: np.ndarray
    kl: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray


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
    known = np.isfinite(new.rewards)
    figures = {
        'prompts': len(prompts),
        'reward_before': float(np.nanmean(old.rewards)),
        'reward_after': float(new.rewards[known].mean()),
        'reward_ci95': _interval(new.rewards[known], clusters[known]),
        'kl': float(new.kl.mean()),
        'response_length': float(new.lengths.mean()),
        'response_length_before': float(old.lengths.mean()),
        'no_eos': float(1 - new.finished.mean()),
        'judge': judge.name,
        'judge_trained_the_policy': trained_by
        and trained_by == (judge.name, judge.model),
    }
    if judge.model:
        figures['judge_model'] = judge.model
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
    if gold:
        for row in rows:
            row['gold_reference'] = gold(row['prompt'], row['reference'])
            row['gold'] = gold(row['prompt'], row['response'])
        after = np.array([row['gold'] for row in rows])
        figures |= {
            'gold_before': float(np.mean([row['gold_reference'] for row in rows])),
            'gold_after': float(after.mean()),
            'gold_ci95': _interval(after, clusters),
        }
    decide = preference(_scored(rows)) if judge is reward else judge.preference
    labels = both_orders(decide, prompts, new.texts, old.texts)
    for row, verdict in zip(rows, labels.won, strict=True):
        row['won'] = float(verdict)
    figures |= {'unanswered': labels.unanswered, **judge.report()}
    return figures | winrate.win_metrics(labels.won, labels.biased, clusters), rows


def answer(
    run: Run, prompts: list[str], policy: Role, other: Role, reward: Judge, seed: int
) -> Answers:
    """Samples and scores a policy's responses; KL is to `other`."""
    limits, size = run.config.lengths, run.config.evaluation.batch_size
    data = run.encoded(prompts)
    temperature = run.config.evaluation.temperature
    sampling = Sampling(limits.response, run.tokenizer.eos, temperature)
    play = _play(run.arch, sampling)
    key, parts = jax.random.fold_in(run.key('compare'), seed), []
    for rows, new in slices(len(prompts), size):
        chosen = [data.prompts[i] for i in rows]
        batch = batching.left(chosen, run.tokenizer.pad, run.prompt_multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        key, now = jax.random.split(key)
        played = play(_parts(policy), _parts(other), reward.panel, batch, now)
        parts.append(jax.tree.map(lambda x, new=new: np.asarray(x)[:new], played))
    sampled, rewards, kl = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    texts = decode(run.tokenizer, sampled, prompts)
    if rewards is None:
        rewards = scores(reward)(prompts, texts)
    else:
        check_finite(rewards, reward.name)
    if np.isnan(rewards).all():
        raise UserError(f'{reward.name}: has no verdict on any of the responses')
    return Answers(texts, rewards, kl, sampled.lengths, sampled.finished)


def _scored(rows):
    """The reward that looks up the scores which the sampled responses have."""
    known = {}
    for row in rows:
        known[row['prompt'], row['reference']] = row['reward_reference']
        known[row['prompt'], row['response']] = row['reward']
    return each(lambda *pair: known[pair])


@functools.cache
def _play(arch, sampling):
    # a greedy policy is compared at temperature 1: its own has no distribution
    temperature = sampling.temperature or 1.0

    def play(policy, other, reward, batch, key):
        prompts, lengths = batch['tokens'], batch['lengths']
        params = tree.bind(*policy)
        said = sampler.sample(arch, params, prompts, lengths, key, sampling)
        R = sampling.max_tokens
        tokens = jax.numpy.concatenate([prompts, said.tokens], axis=1)
        mask = jax.numpy.arange(R) < said.lengths[:, None]
        own, others = (
            scoring.log_probs(arch, p, tokens, lengths, R, temperature)
            for p in (params, tree.bind(*other))
        )
        rewards = None
        if reward is not None:
            rewards = scoring.rewards(arch, reward, tokens, lengths, said.lengths, R)
        return said, rewards, jax.numpy.sum((own - others) * mask, axis=1)

    return jax.jit(play)


def _parts(role):
    return role.base, role.delta


def _interval(rewards, clusters):
    return resampling.bootstrap(resampling.mean(rewards), len(rewards), clusters)
