"""Reinforcement learning of a policy against a reward.

Policy, value, reward and reference are adapters (or whole trees, where tuning is full)
over base arrays that they share; the sampler reads what the trainer updates.
"""

import dataclasses
import time
from typing import Any

from perl.config import lineage
from perl.evaluation.compare import compare
from perl.losses.algorithms import ALGORITHMS
from perl.runs import roles
from perl.runs.inputs import inputs
from perl.runs.judging import open_reward
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages import samples
from perl.stages.account import account
from perl.stages.policy.iteration import Trainer
from perl.system import metrics
from perl.training.fit import fit


def policy(run: Run, stage: str) -> dict[str, Any]:
    """Optimises the policy; saves policy and value, returns the stage's figures."""
    config = run.config[stage]
    team, reward = assemble(run, stage), open_reward(run, stage)
    print(f'{stage}: {roles.memory(team, reward.panel)}', flush=True)
    trainer = Trainer(run, stage, team, reward)
    start = trainer.start()

    def sample(state, step):
        if config.eval_every and step % config.eval_every == 0:
            delta = state['trainable']['policy']
            role = dataclasses.replace(team['policy'], delta=delta)
            samples.write(run, stage, role, run.dataset.prompts['test'], step)
        return {}

    state, took = fit(
        run.workdir / stage,
        start,
        trainer.iterate,
        steps=config.steps,
        save_every=config.save_every,
        interrupt=run.interrupt,
        inputs=inputs(run, stage),
        begin=run.record_sitting,
        evaluate=sample,
        eval_every=config.eval_every,
        program=trainer.update,
        tensorboard=run.config.tensorboard,
        shown=('reward', 'gold', 'kl', 'no_eos'),
        before_update=('reward', 'entropy', 'kl'),
    )
    trained = {
        name: dataclasses.replace(team[name], delta=delta)
        for name, delta in state['trainable'].items()
    }
    policy = trained['policy']
    run.save_role(stage, policy)
    if 'value' in trained:
        run.save_role(stage, trained['value'], 'value')
    began = time.monotonic()
    judged, rows = compare(
        run,
        policy,
        team['reference'],
        reward,
        'test',
        trained_by=lineage.trained_by(run.config, stage),
    )
    metrics.append_samples(run.workdir / stage, rows)
    return {
        **account(run, stage, list(trained.values()), took),
        'algorithm': config.algorithm,
        'evaluation_seconds': time.monotonic() - began,
        **judged,
    }


def assemble(run: Run, stage: str) -> dict[str, Role]:
    """The roles at the start: policy, reference and, for an algorithm with a critic,
    value."""
    config = run.config[stage]
    team = {
        'policy': run.place(run.begin(stage)),
        'reference': run.source(config.start),
    }
    if not ALGORITHMS[config.algorithm].group:
        team['value'] = run.place(_value(run, stage))
    return team


def _value(run, stage):
    config = run.config[stage]
    if config.value_start == 'reward':
        reward = roles.normalised(run.reward_role(config.reward))
        value = roles.copied(reward, config.tuning.dropout)
    else:
        value = roles.begin(
            run.key(f'{stage}/value'),
            run.tuning(stage),
            run.source(config.value_start),
            run.leaves,
            stage,
        )
    return roles.with_head(run.key(f'{stage}/head'), value, run.arch.width)
