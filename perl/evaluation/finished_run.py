"""Figures of the finished stages of a run."""

from typing import Any

from perl.config import lineage
from perl.evaluation import examine, reward_metrics
from perl.evaluation.compare import compare
from perl.evaluation.reward_task import reward_task
from perl.judges import Judge, Reward
from perl.runs import reward_models, teachers
from perl.runs.judging import open_judge, open_reward
from perl.runs.roles import Role
from perl.runs.run import Run


def evaluate(
    run: Run,
    split: str = 'test',
    policy: str = '',
    against: str = '',
    judge: Judge | str = '',
    rater: Reward | None = None,
) -> dict[str, Any]:
    """Figures of every finished reward stage, and of a policy against another.

    Args:
        run: a run with its base.
        split: the split of the data.
        policy, against: stages of the run, adapter folders, or base; '' means the last
            finished policy, if there is one, and what it started from.
        judge: decides which policy wins, opened or by name; '' means the exact reward,
            if there is one, else the reward that the policy was trained on. A judge
            that consists of reward models also gives the reported rewards.
        rater: gives the probability that a response is harmless.
    """
    evaluation = {}
    for name in reward_models.finished(run, 'reward'):
        role = reward_models.load(run, name)
        task = reward_task(run, name)
        evaluation[name] = reward_metrics.evaluate(task, role, split)
        evaluation[name] |= examine.reward_model(task, role, split)
    policy = teachers.stage_of(run, policy) or last_policy(run)
    if policy:
        against = against or start_of(run, policy)
        if isinstance(judge, str):
            judge = open_judge(judge, run) if judge else None
        rewards = judge is not None and judge.panel is not None
        figures, rows = compare(
            run,
            role_of(run, policy),
            role_of(run, against),
            judge if rewards else reward_of(run, policy),
            split,
            judge,
            teachers.trained_by(run, policy),
        )
        figures |= examine.policy(run.dataset, rows, split, rater)
        evaluation[f'{policy} against {against}'] = figures
    return evaluation


def last_policy(run: Run) -> str:
    """The last finished policy stage of a run, or an empty string."""
    return (reward_models.finished(run, 'policy') or [''])[-1]


def start_of(run: Run, policy: str) -> str:
    """What a policy started from: SFT or the base."""
    if policy in run.config.stages:
        return run.config[lineage.origin(run.config, policy)].get('start', 'base')
    return (reward_models.finished(run, 'sft') or ['base'])[0]


def role_of(run: Run, name: str) -> Role:
    """The policy of a stage or folder, or the base."""
    return run.source('base') if name == 'base' else run.role(name)


def reward_of(run: Run, policy: str) -> Judge | None:
    """The reward that a policy stage names; else the run's first reward model, or None
    if it has none."""
    is_policy = (
        policy in run.config.stages and lineage.makes(run.config, policy) == 'policy'
    )
    if is_policy and lineage.reward_of(run.config, policy):
        return open_reward(run, policy)
    first = reward_models.finished(run, 'reward')[:1]
    return open_judge(first[0], run) if first else None
