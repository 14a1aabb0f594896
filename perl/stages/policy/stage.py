"""Reinforcement learning of a policy against a reward.

Policy, value, reward and reference are adapters (or whole trees, where tuning is full)
over base arrays that they share; the sampler reads what the trainer updates.
"""

import dataclasses
from typing import Any

from perl.config import lineage
from perl.data.chat import stops
from perl.data.packing import pack
from perl.judges import Judge, each
from perl.losses.algorithms import ALGORITHMS
from perl.rollout.choosing import Sampling
from perl.runs import roles
from perl.runs.judging import open_reward
from perl.runs.role_memory import memory
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.account import account
from perl.stages.compared import compared
from perl.stages.frozen import Frozen
from perl.stages.policy.feed import Feed
from perl.stages.policy.iteration import Trainer
from perl.stages.policy.plan import plan
from perl.stages.policy.states import start
from perl.stages.sample_writer import sample_writer
from perl.stages.sitting import place_state, sitting
from perl.training.fit import fit


def policy(run: Run, stage: str) -> dict[str, Any]:
    """Optimises the policy; saves policy and value, returns the stage's figures."""
    section = run.config[stage]
    by_role, reward = assemble(run, stage), open_reward(run, stage)
    print(f'{stage}: {memory(by_role, reward.panel)}', flush=True)
    trainer, state = prepare(run, stage, by_role, reward)
    write = sample_writer(run, stage, run.dataset.prompts['test'])

    def sample(state, step):
        if section.eval_every and step % section.eval_every == 0:
            delta = state['trainable']['policy']
            write(dataclasses.replace(by_role['policy'], delta=delta), step)
        return {}

    loop = sitting(run, stage).loop(
        evaluate=sample,
        program=trainer.update,
        shown=('reward', 'gold', 'kl', 'no_eos'),
        before_update=('reward', 'entropy', 'kl'),
    )
    state, took = fit(loop, state, trainer.iterate)
    trained = {
        name: dataclasses.replace(by_role[name], delta=delta)
        for name, delta in state['trainable'].items()
    }
    policy = trained['policy']
    run.save_role(stage, policy)
    if 'value' in trained:
        run.save_role(stage, trained['value'], 'value')
    return {
        **account(section, run.leaves, list(trained.values()), took),
        'algorithm': section.algorithm,
        **compared(
            run,
            run.workdir / stage,
            policy,
            by_role['reference'],
            reward,
            lineage.trained_by(run.config, stage),
        ),
    }


def assemble(run: Run, stage: str) -> dict[str, Role]:
    """The roles at the start: policy, reference and, for an algorithm with a critic,
    value."""
    section = run.config[stage]
    by_role = {
        'policy': run.place(run.begin(stage)),
        'reference': run.source(section.start),
    }
    if not ALGORITHMS[section.algorithm].group:
        by_role['value'] = run.place(_value(run, stage))
    return by_role


def prepare(
    run: Run, stage: str, by_role: dict[str, Role], reward: Judge
) -> tuple[Trainer, dict[str, Any]]:
    """What runs the iterations of a stage, and the state before the first.

    Args:
        run: what all stages share.
        stage: its name.
        by_role: the roles, from `assemble`.
        reward: who scores the responses.
    """
    section, update = run.config[stage], plan(run.arch, run.config, stage)
    trainable = {x: by_role[x].delta for x in ('policy', 'value') if x in by_role}
    state = place_state(start(update, section, trainable), run.mesh)
    bases = {name: by_role[name].base for name in trainable}
    trainer = Trainer(
        run.arch,
        section,
        plan=update,
        state=state,
        frozen=Frozen(
            **bases, reference=by_role['reference'].network, reward=reward.panel
        ),
        feed=_feed(run, stage),
        sampling=Sampling(
            run.config.lengths.response, stops(run.tokenizer), section.temperature
        ),
        reward=reward,
        key=run.key(stage),
    )
    return trainer, state


def _feed(run: Run, stage: str) -> Feed:
    section = run.config[stage]
    dataset, limits, packed = run.dataset, run.config.lengths, None
    texts = dataset.prompts['train']
    if section.ptx_coefficient:
        width = limits.prompt + limits.response
        packed = pack(dataset.text['train'], run.tokenizer, width)
    return Feed(
        texts=texts,
        prompts=run.encoded(texts, f'{stage}/train'),
        tokenizer=run.tokenizer,
        section=section,
        seed=run.config.seed,
        multiple=run.prompt_multiple,
        mesh=run.mesh,
        packed=packed,
        gold=each(dataset.gold) if dataset.gold else None,
    )


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
