"""One iteration of reinforcement learning: sample, score, estimate, update."""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from perl import sharding
from perl.adapters import tree
from perl.adapters.network import Network
from perl.judges.reward import Judge, training_rewards
from perl.losses import kl
from perl.models.architecture import Architecture
from perl.rollout import sampler, scoring
from perl.rollout.choosing import Sampling
from perl.rollout.responses import Rollout
from perl.stages.frozen import Frozen
from perl.stages.policy import experience
from perl.stages.policy.checks import Checks
from perl.stages.policy.feed import Feed
from perl.stages.policy.objective import Experience, Objective
from perl.training import optimizer as optimizers
from perl.training.compiled import Compiled
from perl.training.plan import Plan
from perl.training.step import over_steps


def start(plan: Plan, section: ConfigDict, trainable: Any) -> dict[str, Any]:
    """The state before the first iteration.

    Args:
        plan: of the update.
        section: the config of the stage.
        trainable: deltas of the policy and, where there is a critic, the value.

    Returns:
        That of the plan; `memory`, scalars that go from one iteration to the next; and
        `anchor`, the delta of the reference, where that follows the policy.
    """
    state = plan.init(trainable)
    zero = jnp.zeros((), jnp.float32)
    state['memory'] = dict.fromkeys(('count', 'mean', 'm2'), zero)
    state['memory']['kl_coefficient'] = jnp.float32(section.kl_coefficient)
    if section.ema_rate:
        state['anchor'] = jax.tree.map(lambda x: x.copy(), trainable['policy'])
    return state


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
        self.rollout = Compiled(
            functools.partial(_rollout, arch=arch, sampling=sampling)
        )
        self.score = Compiled(
            functools.partial(
                experience.score,
                arch=arch,
                objective=objective,
                with_reference=regularised(section),
            )
        )
        self.estimate = jax.jit(
            functools.partial(experience.estimate, objective=objective)
        )
        log_probs = functools.partial(
            _log_probs, arch=arch, temperature=section.temperature
        )
        self.checks = Checks(arch, jax.jit(log_probs), section.value_warmup)
        self.update = plan.update(state)

    def iterate(self, state: Any, at: int) -> tuple[Any, dict[str, Any]]:
        """Iteration `at`: from a state to the next, and its metrics."""
        clock = _Clock()
        policy = state['trainable']['policy']
        key = jax.random.fold_in(self.key, at)
        rollout = self.rollout(policy, self.frozen.policy, self.feed.batch(at), key)
        clock.mark('rollout', rollout)
        frozen = self._with_anchor(state)
        scores = self.score(state['trainable'], frozen, rollout)
        checked = self.checks.before(at, policy, frozen, rollout, scores)
        scores, verdicts = self._rewarded(scores, rollout, at)
        batch, memory, figures = self.estimate(rollout, scores, state['memory'])
        clock.mark('score', figures)
        memory = self._steered(memory, figures)
        memory = jax.device_put(memory, sharding.replicated(self.feed.mesh))
        state, learned = self._learn({**state, 'memory': memory}, frozen, batch, at)
        state, policy = self._follow(state), state['trainable']['policy']
        change = self.checks.after(at, policy, frozen.policy, learned['grad_norm'])
        if at:  # a sitting that resumes checks again, but a run has one line of each
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

    def _with_anchor(self, state):
        """What is frozen in this iteration. Where the reference follows the policy, it
        is a copy of the anchor, because an update donates the state."""
        if 'anchor' not in state:
            return self.frozen
        delta = jax.tree.map(lambda x: x.copy(), state['anchor'])
        return dataclasses.replace(
            self.frozen,
            reference=Network(self.frozen.policy, delta),
            start=self.frozen.reference,
        )

    def _rewarded(self, scores, rollout, at):
        """The scores with rewards, and how many responses have no verdict."""
        if self.reward.panel is not None:
            return scores, {}
        texts = self.feed.texts_of(rollout.responses, at)
        rewards, missing = training_rewards(self.reward, *texts)
        return dataclasses.replace(scores, rewards=rewards), {'no_verdict': missing}

    def _steered(self, memory, figures):
        """The memory with the KL coefficient of the next iteration."""
        section = self.section
        if section.kl_controller != 'adaptive':
            return memory
        beta = kl.adaptive(
            memory['kl_coefficient'],
            figures['kl'],
            section.kl_target,
            section.kl_horizon,
            section.batch_size,
        )
        if self.objective.rules.convex:  # above 1 the reward would change its sign
            beta = jnp.minimum(beta, 1.0)
        return {**memory, 'kl_coefficient': beta}

    def _learn(self, state, frozen, batch, at):
        """All updates of an iteration, and their metrics as if they were one."""
        section, n = self.section, self.section.batch_size
        rows, history = n // section.minibatches, []
        for epoch in range(section.epochs):
            rng = np.random.default_rng((self.feed.seed, at, epoch))
            shuffled = rng.permutation(n)
            for part in range(section.minibatches):
                chosen = shuffled[part * rows : (part + 1) * rows]
                minibatch = _take(batch, chosen) if section.minibatches > 1 else batch
                minibatch = self._with_text(minibatch, len(history), at)
                state, metrics = self.update(state, frozen, minibatch)
                history.append(jax.device_get(metrics))
        return state, over_steps(history)

    def _with_text(self, batch, part, at):
        """The minibatch with text whose mean loss weighs `ptx_coefficient` beside the
        policy's."""
        section = self.section
        if not section.ptx_coefficient:
            return batch
        by_response = self.objective.rules.by_response
        count = len(batch.mask) if by_response else int(jnp.sum(batch.mask))
        update = at * section.epochs * section.minibatches + part
        text = self.feed.text(update, section.ptx_coefficient * count)
        return dataclasses.replace(batch, text=text)

    def _follow(self, state):
        """The state with its anchor a little nearer to the policy."""
        if 'anchor' not in state:
            return state
        policy = state['trainable']['policy']
        anchor = _interpolate(state['anchor'], policy, self.section.ema_rate)
        return {**state, 'anchor': anchor}


def regularised(section: ConfigDict) -> bool:
    """Whether a policy stage has a KL term; without one no reference is run."""
    return section.kl_coefficient > 0 and section.kl_estimator != 'none'


class _Clock:
    """Seconds of each phase, measured when its arrays are there."""

    def __init__(self):
        self.seconds, self._last = {}, time.monotonic()

    def mark(self, phase, arrays):
        jax.block_until_ready(arrays)
        now = time.monotonic()
        self.seconds[f'seconds_{phase}'] = now - self._last
        self._last = now


def _rollout(delta, base, prompts, key, *, arch, sampling):
    """Responses of the policy to `prompts`, joined with them."""
    params = tree.bind(base, delta)
    tokens, lengths = prompts['tokens'], prompts['lengths']
    responses = sampler.sample(arch, params, tokens, lengths, key, sampling)
    return Rollout.join(tokens, lengths, responses)


def _log_probs(delta, base, rollout, *, arch, temperature):
    """Log-probs `[B, R]` of a rollout's tokens by the training pass."""
    rows = rollout.tokens, rollout.prompt_lengths, rollout.width
    return scoring.log_probs(arch, tree.bind(base, delta), *rows, temperature)


@jax.jit
def _interpolate(anchor, policy, rate):
    """The anchor a little nearer to the policy (WARP, arXiv 2406.16768, section 3.1).
    Of an adapter the factors are averaged, which is near the average product."""
    return jax.tree.map(lambda a, x: a + rate * (x - a), anchor, policy)


@jax.jit
def _take(batch: Experience, rows: jax.Array) -> Experience:
    """Rows of a batch, spread over the mesh like any batch."""
    return jax.tree.map(
        lambda x: sharding.constrain(x[rows], 'batch', *([None] * (x.ndim - 1))), batch
    )
