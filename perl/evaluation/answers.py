"""Samples a policy's responses to prompts and computes their rewards and KL."""

import dataclasses
import functools

import jax
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.data import batching
from perl.data.chat import stops
from perl.data.ordering import slices
from perl.evaluation import responses
from perl.judges import Judge, scores
from perl.rollout import scoring
from perl.rollout.choosing import Sampling
from perl.rollout.responses import Rollout, decode
from perl.runs.reward_models import check_finite
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import placement
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Answers:
    """A policy's n responses to prompts, those to one prompt in a row.

    Attributes:
        texts: the responses.
        rewards: float `[n]`, from the judge; NaN for no verdict. None without
            a judge.
        kl: float32 `[n]`, the KL (k1) of each response to the other policy, in nats.
        lengths: int32 `[n]`, in tokens.
        finished: bool `[n]`, whether the response ends with eos.
    """

    texts: list[str]
    rewards: np.ndarray | None
    kl: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray


def answer(
    run: Run,
    prompts: list[str],
    policy: Role,
    other: Role,
    reward: Judge | None,
    seed: int,
    samples: int = 1,
) -> Answers:
    """Samples a policy's responses, some to each prompt, and scores them if there is a
    judge; the KL is to the policy `other`.

    Raises:
        UserError: the judge has no verdict on any response.
    """
    temperature = run.config.evaluation.temperature
    limits, ids = run.config.lengths, run.encoded(prompts).prompts
    sampling = Sampling(limits.response, stops(run.tokenizer), temperature)
    key, multiple = jax.random.fold_in(run.key('compare'), seed), run.prompt_multiple
    sampled = responses.sample(
        run, policy.bound(), ids, sampling, key, samples, multiple
    )
    prompts, ids = ([x for x in xs for _ in range(samples)] for xs in (prompts, ids))
    rewards, kl = _scored(run, ids, sampled, policy, other, reward)
    texts = decode(run.tokenizer, sampled, prompts)
    if rewards is not None:
        check_finite(rewards, reward.name)
    elif reward is not None:
        rewards = scores(reward)(prompts, texts)
    if rewards is not None and np.isnan(rewards).all():
        raise UserError(f'{reward.name}: has no verdict on any response')
    return Answers(texts, rewards, kl, sampled.lengths, sampled.finished)


def _scored(run, prompts, sampled, policy, other, reward):
    """Rewards `[n]`, or None, and KL `[n]` of n responses to prompts in token ids."""
    panel, size = reward and reward.panel, run.config.evaluation.batch_size
    size = sharding.batch_rows(size, len(prompts), run.mesh)
    # for greedy sampling the KL is that at temperature 1
    score = _score(run.arch, run.config.evaluation.temperature or 1.0)
    parts = []
    for rows, new in slices(len(prompts), size):
        chosen = [prompts[i] for i in rows]
        batch = batching.left(chosen, run.tokenizer.pad, run.prompt_multiple)
        batch['responses'] = jax.tree.map(lambda x, rows=rows: x[rows], sampled)
        batch = sharding.shard_batch(batch, run.mesh)
        part = score(_parts(policy), _parts(other), panel, batch)
        parts.append(jax.tree.map(lambda x, new=new: x[:new], placement.fetch(part)))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


@functools.cache
def _score(arch, temperature):
    def score(policy, other, reward, batch):
        rollout = Rollout.join(*(batch[x] for x in ('tokens', 'lengths', 'responses')))
        rows = rollout.tokens, rollout.prompt_lengths
        log_p, log_q = (
            scoring.log_probs(arch, tree.bind(*p), *rows, rollout.width, temperature)
            for p in (policy, other)
        )
        rewards = None
        if reward is not None:
            lengths = rollout.responses.lengths
            rewards = scoring.rewards(arch, reward, *rows, lengths, rollout.width)
        kl = (log_p - log_q) * rollout.mask.astype(log_p.dtype)
        return rewards, jax.numpy.sum(kl, axis=1)

    return jax.jit(score)


def _parts(role):
    return role.base, role.delta
