"""Samples a policy's responses to prompts and computes their rewards and KL."""

import dataclasses
import functools

import jax
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.data import batching
from perl.data.batching import slices
from perl.data.chat import stops
from perl.judges import Judge, scores
from perl.rollout import sampler, scoring
from perl.rollout.choosing import Sampling
from perl.rollout.responses import decode
from perl.runs.reward_models import check_finite
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Answers:
    """A policy's responses to n prompts.

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
) -> Answers:
    """Samples a policy's responses, and scores them if there is a judge; the KL is to
    the policy `other`.

    Raises:
        UserError: the judge has no verdict on any response.
    """
    limits = run.config.lengths
    size = run.config.evaluation.batch_size
    size = sharding.batch_rows(size, len(prompts), run.mesh)
    data = run.encoded(prompts)
    temperature = run.config.evaluation.temperature
    sampling = Sampling(limits.response, stops(run.tokenizer), temperature)
    sample, panel = _sample(run.arch, sampling), reward and reward.panel
    key, parts = jax.random.fold_in(run.key('compare'), seed), []
    for rows, new in slices(len(prompts), size):
        chosen = [data.prompts[i] for i in rows]
        batch = batching.left(chosen, run.tokenizer.pad, run.prompt_multiple)
        batch = sharding.shard_batch(batch, run.mesh)
        key, batch_key = jax.random.split(key)
        part = sample(_parts(policy), _parts(other), panel, batch, batch_key)
        parts.append(jax.tree.map(lambda x, new=new: np.asarray(x)[:new], part))
    sampled, rewards, kl = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    texts = decode(run.tokenizer, sampled, prompts)
    if rewards is not None:
        check_finite(rewards, reward.name)
    elif reward is not None:
        rewards = scores(reward)(prompts, texts)
    if rewards is not None and np.isnan(rewards).all():
        raise UserError(f'{reward.name}: has no verdict on any response')
    return Answers(texts, rewards, kl, sampled.lengths, sampled.finished)


@functools.cache
def _sample(arch, sampling):
    # for greedy sampling the KL is that at temperature 1
    temperature = sampling.temperature or 1.0

    def sample(policy, other, reward, batch, key):
        prompts, lengths = batch['tokens'], batch['lengths']
        params = tree.bind(*policy)
        sampled = sampler.sample(arch, params, prompts, lengths, key, sampling)
        R = sampling.max_tokens
        tokens = jax.numpy.concatenate([prompts, sampled.tokens], axis=1)
        mask = jax.numpy.arange(R)[None] < sampled.lengths[:, None]
        log_p, log_q = (
            scoring.log_probs(arch, p, tokens, lengths, R, temperature)
            for p in (params, tree.bind(*other))
        )
        rewards = None
        if reward is not None:
            rewards = scoring.rewards(arch, reward, tokens, lengths, sampled.lengths, R)
        kl = (log_p - log_q) * mask.astype(log_p.dtype)
        return sampled, rewards, jax.numpy.sum(kl, axis=1)

    return jax.jit(sample)


def _parts(role):
    return role.base, role.delta
