"""Responses that a policy samples to prompts, with their rewards and their KL."""

import dataclasses
import functools

import jax
import numpy as np

from perl import sharding
from perl.adapters import tree
from perl.data import batching
from perl.data.batching import slices
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
