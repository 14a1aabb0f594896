"""One iteration of reinforcement learning: sample, score, judge, learn."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from perl import sharding
from perl.adapters import tree
from perl.judges.reward import Judge, training_rewards
from perl.losses import kl
from perl.rollout import sampler, scoring
from perl.rollout.sampler import Sampling
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.policy import checks, experience, objective
from perl.stages.policy.feed import Feed
from perl.stages.policy.objective import Objective
from perl.stages.supervised import place_state
from perl.training import optimizer as optimizers
from perl.training.compiled import Compiled
from perl.training.step import init, step


class Trainer:
    """The compiled parts of an iteration, and the host loop that joins them."""

    def __init__(self, run: Run, stage: str, team: dict[str, Role], reward: Judge):
        """`reward` scores the responses: on the device where it has a panel of reward
        models, else on the host as texts."""
        self.run, self.stage, self.team, self.reward = run, stage, team, reward
        config = self.config = run.config[stage]
        arch, limits = run.arch, run.config.lengths
        self.objective = Objective(
            **{f: config[f] for f in Objective.__dataclass_fields__}
        )
        self.feed = Feed(run, stage)
        self.frozen = {
            'reference': {
                'base': team['reference'].base,
                'delta': team['reference'].delta,
            },
            **{name: team[name].base for name in self.trained},
        }
        if reward.panel is not None:
            self.frozen['reward'] = reward.panel
        self.optimizer = self._optimizer()
        sampling = Sampling(limits.response, run.tokenizer.eos, config.temperature)
        self.rollout = Compiled(
            functools.partial(_rollout, arch=arch, sampling=sampling)
        )
        self.observe = Compiled(
            functools.partial(
                experience.observe,
                arch=arch,
                objective=self.objective,
                with_reference=regularised(config),
            )
        )
        self.judge = jax.jit(
            functools.partial(experience.judge, objective=self.objective)
        )
        self.teacher = jax.jit(
            functools.partial(
                _teacher, arch=arch, R=limits.response, temperature=config.temperature
            )
        )
        self.probe, self.updates, self.moved = None, 0, 0.0

    @property
    def trained(self) -> list[str]:
        """The roles that learn: the policy and, where there is one, its critic."""
        return [name for name in ('policy', 'value') if name in self.team]

    def start(self) -> dict[str, Any]:
        """The state before the first iteration; compiles the update for it."""
        trainable = {name: self.team[name].delta for name in self.trained}
        state = init(trainable, self.optimizer)
        zero = jnp.zeros((), jnp.float32)
        beta = jnp.float32(self.config.kl_coefficient)
        state['memory'] = {'kl_coefficient': beta, 'count': zero, 'mean': zero}
        state['memory']['m2'] = zero
        if self.config.ema_rate:
            state['anchor'] = jax.tree.map(lambda x: x.copy(), trainable['policy'])
        state = place_state(self.run, state)
        self.update = Compiled(
            functools.partial(
                step,
                loss=functools.partial(
                    objective.loss, arch=self.run.arch, objective=self.objective
                ),
                optimizer=self.optimizer,
                seed=self.run.config.seed,
                micro_batches=self.config.micro_batches,
            ),
            donate_argnames=('state',),
            out_shardings=(jax.tree.map(lambda x: x.sharding, state), None),
        )
        return state

    def iterate(self, state: Any, at: int) -> tuple[Any, dict[str, Any]]:
        """One iteration: sample, score, learn."""
        clock = _Clock()
        prompts = self.feed.prompts(at)
        key = jax.random.fold_in(self.run.key(self.stage), at)
        trainable = state['trainable']
        sampled = self.rollout(trainable['policy'], self.frozen['policy'], prompts, key)
        clock.mark('rollout', sampled)
        frozen = self._anchored(state)
        seen = self.observe(
            trainable, frozen, prompts['tokens'], prompts['lengths'], sampled
        )
        found = {}
        if self.probe is None or at == self.config.value_warmup:
            before = self._teach(state, seen)
            found |= self._check_before(seen, before, sampled, at)
            self.probe = seen, before
        on_texts = {}
        if self.reward.panel is None:
            texts = self.feed.texts_of(sampled, at)
            rewards, missing = training_rewards(self.reward, *texts)
            seen, on_texts = {**seen, 'scores': rewards}, {'no_verdict': missing}
        learn, memory, figures = self.judge(seen, state['memory'])
        figures = {**figures, **on_texts}
        clock.mark('score', figures)
        if self.config.kl_controller == 'adaptive':
            memory = self._steer(memory, figures['kl'])
        state = {**state, 'memory': self.run.replicate(memory)}
        state, learned = self._learn(state, frozen, learn, at)
        if 'anchor' in state:
            rate, policy = self.config.ema_rate, state['trainable']['policy']
            state['anchor'] = _ema(state['anchor'], policy, rate)
        if at:  # a resume checks again, but leaves the lines of a run that had none
            found = {}
        if not self.moved and at >= self.config.value_warmup:
            moved = self._check_moved(state)
            found |= {'adapter_active': moved} if at == self.config.value_warmup else {}
        clock.mark('update', learned)
        gold = self.feed.gold(sampled, at)
        figures |= self._pace(at, sampled)
        return state, {**figures, **learned, **found, **gold, **clock.seconds}

    def _pace(self, at, sampled):
        """The rate of the policy's first update, epochs of the prompts, and sampled
        tokens."""
        config = self.config
        updates = config.epochs * config.minibatches
        rate = optimizers.schedule(config.optimizer, config.steps * updates)
        still = at < config.value_warmup
        return {
            'learning_rate': 0.0 if still else rate(at * updates),
            'epoch': (at + 1)
            * config.batch_size
            / config.samples
            / len(self.feed.texts),
            'tokens': jnp.sum(sampled.lengths),
        }

    def _anchored(self, state):
        """What is frozen in this iteration; the reference may be the moving anchor,
        copied, since an update donates the state, beside what it started from."""
        if 'anchor' not in state:
            return self.frozen
        delta = jax.tree.map(lambda x: x.copy(), state['anchor'])
        anchor = {'base': self.frozen['policy'], 'delta': delta}
        start = self.frozen['reference']
        return {**self.frozen, 'reference': anchor, 'start': start}

    def _learn(self, state, frozen, learn, at):
        config, n = self.config, self.config.batch_size
        rows = n // config.minibatches
        history = []
        for epoch in range(config.epochs):
            rng = np.random.default_rng((self.run.config.seed, at, epoch))
            shuffled = rng.permutation(n)
            for part in range(config.minibatches):
                chosen = shuffled[part * rows : (part + 1) * rows]
                batch = _take(learn, chosen) if config.minibatches > 1 else learn
                if config.ptx_coefficient:
                    batch = {**batch, 'ptx': self._text(batch, len(history), at)}
                state, row = self.update(state, frozen, batch)
                history.append(jax.device_get(row))
        return state, jax.tree.map(lambda *xs: sum(xs) / len(xs), *history)

    def _teach(self, state, seen):
        return self.teacher(state['trainable']['policy'], self.frozen['policy'], seen)

    def _check_before(self, seen, teacher, sampled, at):
        found = checks.before(seen, teacher, self.run.arch, starts_at_reference=at == 0)
        if 'reward' in self.frozen:
            found['reward'] = checks.reward_alone(
                self.frozen, seen, sampled.lengths, self.run.arch
            )
        return {f'check_{name}': x for name, x in found.items()}

    def _check_moved(self, state):
        seen, before = self.probe
        self.updates += 1
        last = self.updates >= checks.PATIENCE[self.run.arch.dtype]
        after = self._teach(state, seen)
        self.moved = checks.moved(before, after, seen['mask'], last)
        return self.moved

    def _steer(self, memory, observed):
        config = self.config
        beta = kl.adaptive(
            memory['kl_coefficient'],
            observed,
            config.kl_target,
            config.kl_horizon,
            config.batch_size,
        )
        if self.objective.rules.convex:  # past 1 it would turn the reward round
            beta = jnp.minimum(beta, 1.0)
        return {**memory, 'kl_coefficient': beta}

    def _text(self, batch, part, at):
        """Text whose mean loss weighs the coefficient beside the policy's."""
        config, mask = self.config, batch['mask']
        by_response = self.objective.rules.by_response
        count = len(mask) if by_response else int(jnp.sum(mask))
        update = at * config.epochs * config.minibatches + part
        return self.feed.text(update, config.ptx_coefficient * count)

    def _optimizer(self):
        config = self.config
        updates = config.epochs * config.minibatches
        steps = config.steps * updates
        policy = optimizers.make(config.optimizer, steps)
        if config.value_warmup:
            still = config.value_warmup * updates
            policy = optax.chain(policy, optax.scale_by_schedule(lambda n: n >= still))
        value = config.optimizer.copy_and_resolve_references()
        value.learning_rate = config.value_learning_rate
        parts = {'policy': policy, 'value': optimizers.make(value, steps)}
        return optax.partition(parts, {name: name for name in self.trained})


def regularised(config: Any) -> bool:
    """Whether a policy stage needs its reference; without one none is computed."""
    return config.kl_coefficient > 0 and config.kl_estimator != 'none'


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
    params = tree.bind(base, delta)
    tokens, lengths = prompts['tokens'], prompts['lengths']
    return sampler.sample(arch, params, tokens, lengths, key, sampling)


def _teacher(delta, base, seen, *, arch, R, temperature):
    params = tree.bind(base, delta)
    tokens, lengths = seen['tokens'], seen['lengths']
    return scoring.log_probs(arch, params, tokens, lengths, R, temperature)


@jax.jit
def _ema(anchor, policy, rate):
    """The anchor a little nearer to the policy (WARP, arXiv 2406.16768, section 3.1);
    of an adapter its factors are averaged, which is near the average product."""
    return jax.tree.map(lambda a, x: a + rate * (x - a), anchor, policy)


@jax.jit
def _take(learn, rows):
    return jax.tree.map(lambda x: constrained(x[rows]), learn)


def constrained(x: jax.Array) -> jax.Array:
    """Rows of a minibatch, spread like any batch."""
    return sharding.constrain(x, 'batch', *([None] * (x.ndim - 1)))
