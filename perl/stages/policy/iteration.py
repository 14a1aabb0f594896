"""One iteration of reinforcement learning: sample, score, estimate, update."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl import sharding
from perl.adapters import tree
from perl.judges.reward import Judge, training_rewards
from perl.models.architecture import Architecture
from perl.rollout import choosing, refill, sampler, scoring
from perl.rollout.choosing import Sampling
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy import experience, states
from perl.stages.policy.checks import Checks
from perl.stages.policy.clock import Clock
from perl.stages.policy.epochs import Epochs
from perl.stages.policy.feed import Feed
from perl.stages.policy.objective import Objective
from perl.system import placement
from perl.training import optimizer as optimizers
from perl.training.compiled import Compiled
from perl.training.plan import Plan


class Trainer:
    """The compiled parts of an iteration, and the host loop that joins them.

    Attributes:
        update: the compiled update, whose peak memory is reported.
    """

    def __init__(
        self,
        arch: Architecture,
        section: ConfigDict,
        *,
        plan: Plan,
        state: Any,
        frozen: Frozen,
        feed: Feed,
        sampling: Sampling,
        reward: Judge,
        key: jax.Array,
    ):
        """Compiles nothing yet.

        Args:
            arch: the decoder.
            section: the config of the stage.
            plan: of the update.
            state: a placed state, whose layout every state has.
            frozen: the arrays of the roles, without those of `start`.
            feed: of prompts and texts.
            sampling: how responses are sampled.
            reward: who scores them: on the device if it is a panel of reward models
                (which `frozen` has), else on the host as texts.
            key: a random key; each iteration folds its number into it.
        """
        self.section, self.frozen, self.feed = section, frozen, feed
        self.reward, self.key = reward, key
        self.objective = objective = Objective.of(section)
        slots = rollout_rows(section, feed.mesh)
        self.rollout = rollout_program(arch, sampling, section.samples, slots)
        self.score = score_program(arch, section)
        self.estimate = jax.jit(
            functools.partial(experience.estimate, objective=objective)
        )
        log_probs = functools.partial(_log_probs, arch=arch, objective=objective)
        self.checks = Checks(arch, jax.jit(log_probs), section.value_warmup)
        self.update = plan.update(state)
        self._epochs = Epochs(section, feed, self.update)

    def iterate(self, state: Any, at: int) -> tuple[Any, dict[str, Any]]:
        """Iteration `at`: from a state to the next, and its metrics."""
        clock = Clock()
        policy = state['trainable']['policy']
        key = jax.random.fold_in(self.key, at)
        rollout = self.rollout(policy, self.frozen.policy, self.feed.batch(at), key)
        clock.mark('rollout', rollout)
        frozen = states.with_anchor(self.frozen, state)
        scores = self.score(state['trainable'], frozen, rollout)
        checked = self.checks.before(at, policy, frozen, rollout, scores)
        scores, verdicts = self._rewarded(scores, rollout, at)
        batch, memory, figures = self.estimate(rollout, scores, state['memory'])
        clock.mark('score', figures)
        memory = states.steered(memory, figures, self.section)
        everywhere = sharding.replicated(self.feed.mesh)
        memory = placement.put(memory, dict.fromkeys(memory, everywhere))
        state = {**state, 'memory': memory}
        state, learned = self._epochs.learn(state, frozen, batch, at)
        state = states.follow(state, self.section.ema_rate)
        policy = state['trainable']['policy']
        change = self.checks.after(at, policy, frozen.policy, learned['grad_norm'])
        if at:  # a process that resumes checks again, but a run has one line of each
            checked = {}
        if change is not None and at == self.section.value_warmup:
            checked['adapter_active'] = change
        clock.mark('update', learned)
        gold = self.feed.gold_reward(rollout.responses, at)
        figures = {**figures, **verdicts, **learned, **checked, **gold}
        return state, {**figures, **self._pace(at, rollout), **clock.seconds}

    def _pace(self, at, rollout):
        """The learning rate of the policy's first update, how often the prompts have
        been used, and how many tokens were sampled."""
        section = self.section
        updates = section.epochs * section.minibatches
        rate = optimizers.schedule(section.optimizer, section.steps * updates)
        prompts = (at + 1) * section.batch_size / section.samples
        return {
            'learning_rate': rate(at * updates) if at >= section.value_warmup else 0.0,
            'epoch': prompts / len(self.feed.texts),
            'tokens': jnp.sum(rollout.responses.lengths),
        }

    def _rewarded(self, scores, rollout, at):
        """The scores with rewards, and how many responses have no verdict."""
        if self.reward.panel is not None:
            return scores, {}
        texts = self.feed.texts_of(rollout.responses, at)
        rewards, missing = training_rewards(self.reward, *texts)
        return dataclasses.replace(scores, rewards=rewards), {'no_verdict': missing}


def rollout_program(
    arch: Architecture, sampling: Sampling, samples: int = 1, slots: int | None = None
) -> Compiled:
    """`(delta, base, prompts, key) -> Rollout` of a policy.

    The prompts are tokens `[B, P]`, padded on the left, and lengths `[B]`; each is
    there `samples` times in a row. No more than `slots` rows are sampled together.
    """
    settings = {'sampling': sampling, 'samples': samples, 'slots': slots}
    return Compiled(functools.partial(_rollout, arch=arch, **settings))


def rollout_rows(section: ConfigDict, mesh: jax.sharding.Mesh) -> int:
    """How many responses a rollout samples together."""
    rows = section.batch_size
    return sharding.batch_rows(section.rollout_slots or rows, rows, mesh)


def score_program(arch: Architecture, section: ConfigDict) -> Compiled:
    """`(trainable, frozen, rollout) -> Scores`: what every role says of a rollout."""
    return Compiled(
        functools.partial(
            experience.score,
            arch=arch,
            objective=Objective.of(section),
            with_reference=regularised(section),
        )
    )


def regularised(section: ConfigDict) -> bool:
    """Whether a policy stage has a KL term; without one no reference is run."""
    return section.kl_coefficient > 0 and section.kl_estimator != 'none'


def _rollout(delta, base, prompts, key, *, arch, sampling, samples, slots):
    """Responses of the policy to `prompts`, joined with them."""
    tokens, lengths = prompts['tokens'], prompts['lengths']
    own = arch, tree.bind(base, delta), tokens[::samples], lengths[::samples]
    if slots is None or slots >= len(tokens):
        responses = sampler.sample(*own, key, sampling, samples)
    else:
        keys = choosing.keys_of(key, len(tokens))
        responses = refill.sample(*own, keys, sampling, slots, samples)
    return Rollout.join(tokens, lengths, responses)


def _log_probs(delta, base, rollout, *, arch, objective):
    """Log-probs `[B, R]` of a rollout's tokens by the training pass."""
    rows = rollout.tokens, rollout.prompt_lengths, rollout.width
    options = objective.temperature, objective.samples
    return scoring.log_probs(arch, tree.bind(base, delta), *rows, *options)
