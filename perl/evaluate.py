"""Evaluates finished runs: reward models on held-out data, and pairs of policies.

    python -m perl.evaluate --workdir=runs/quickstart
    python -m perl.evaluate --workdir=runs/quickstart --policy=policy --against=sft \
        --judge=reward

`--judge` names the judge that decides which response is better: a reward model by its
stage or folder, `gold`, a Python function `module:function`, a language model over HTTP
(`endpoint`) or of the run (`model`), or a file of answers (`recorded`). The answers of
a language model are stored in `judge.jsonl`. With `--harmless` the judge also rates
whether responses are harmless.

Prints a table and writes `evaluation.json` and `evaluation/` into the run folder, or
`evaluation_val.json` and `evaluation_val/` with `--split=val`: see
`docs/evaluation.md`. The plot of reward against KL also shows the other run folders
after a comma; `--best_of=64` shows how far the reward model can be trusted.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.config import lineage
from perl.evaluation import best_of_n, examine, reward_scores
from perl.evaluation.compare import compare
from perl.judges import Judge, Reward
from perl.judges.language.questions import HARMLESS
from perl.report import evaluation_report
from perl.report.evaluation_text import table
from perl.report.trajectories import trajectories
from perl.runs import reward_models, saved_config, teachers
from perl.runs.judging import (
    LANGUAGE,
    NAMES,
    Settings,
    open_judge,
    open_reward,
)
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli, environment, jsonl, lock
from perl.system.errors import UserError


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
        evaluation[name] = reward_scores.evaluate(run, name, role, split)
        evaluation[name] |= examine.reward_model(run, name, role, split)
    policy = teachers.stage_of(run, policy) or _last_policy(run)
    if policy:
        against = against or _start_of(run, policy)
        if isinstance(judge, str):
            judge = open_judge(judge, run) if judge else None
        rewards = judge is not None and judge.panel is not None
        figures, rows = compare(
            run,
            _role(run, policy),
            _role(run, against),
            judge if rewards else _reward_of(run, policy),
            split,
            judge,
            teachers.trained_by(run, policy),
        )
        figures |= examine.policy(run, rows, split, rater)
        evaluation[f'{policy} against {against}'] = figures
    return evaluation


def _last_policy(run):
    return (reward_models.finished(run, 'policy') or [''])[-1]


def _start_of(run, policy):
    """What a policy started from: SFT or the base."""
    if policy in run.config.stages:
        return run.config[lineage.origin(run.config, policy)].get('start', 'base')
    return (reward_models.finished(run, 'sft') or ['base'])[0]


def _role(run, name):
    return run.source('base') if name == 'base' else run.role(name)


def _reward_of(run, policy):
    """The reward that a policy stage names; else the run's first reward model, or None
    if it has none."""
    is_policy = (
        policy in run.config.stages and lineage.makes(run.config, policy) == 'policy'
    )
    if is_policy and lineage.reward_of(run.config, policy):
        return open_reward(run, policy)
    first = reward_models.finished(run, 'reward')[:1]
    return open_judge(first[0], run) if first else None


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    first, *others = values.workdir.split(',')
    for other in others:
        saved_config.saved(other)
    run = open_finished(first)
    policy = teachers.stage_of(run, values.policy) or _last_policy(run)
    if values.best_of:
        best_of_n.check(run, values.split, values.best_of)
        proxy = _reward_of(run, policy)
        if proxy is None:
            raise UserError(
                '--best_of: the run has no reward that chooses; leave it out'
            )
    if not values.policy:
        _print_policy(run)
    output = run.workdir / f'{evaluation_report.folder_of(values.split)}.json'
    with jax.set_mesh(run.mesh), lock.exclusive_file(output):
        evaluation = evaluate(
            run,
            values.split,
            policy,
            values.against,
            _judge(run, values),
            _rater(run, values),
        )
        if not evaluation:
            raise UserError(
                f'--workdir: {first} has no finished reward or policy stage'
            )
        extra = {
            'split': values.split,
            'computed': environment.describe(),
            'frontier': trajectories([first, *others]),
        }
        if values.best_of:
            extra['best_of_n'] = best_of_n.best_of_n(
                run,
                _role(run, values.against or _start_of(run, policy)),
                proxy,
                values.split,
                values.best_of,
            )
        jsonl.save(output, evaluation | extra)
        print(table(evaluation))
        print(evaluation_report.write(run.workdir, evaluation | extra))


def _print_policy(run):
    """Prints which policy is evaluated if there are several."""
    names = reward_models.finished(run, 'policy')
    if len(names) > 1:
        print(
            f'policy: {names[-1]}, the last of {", ".join(names)}; choose another '
            'with --policy',
            file=sys.stderr,
        )


def _judge(run, values):
    if not values.judge:
        return ''
    return open_judge(values.judge, run, _settings(run, values))


def _rater(run, values):
    if not values.harmless:
        return None
    if values.judge not in LANGUAGE:
        raise UserError(
            f'--harmless needs a language model; give --judge={" or ".join(LANGUAGE)}'
        )
    settings = dataclasses.replace(_settings(run, values), rating=HARMLESS)
    return open_judge(values.judge, run, settings).reward


def _settings(run, values):
    return Settings(
        template=values.judge_template,
        answers=run.workdir / 'judge.jsonl',
        file=values.judge_file,
        url=values.judge_url,
        model=values.judge_model,
        client={'key_env': values.judge_key_env},
        flip=0.0,  # labels are flipped only in training data, as in AlpacaFarm
    )


def define_flags() -> None:
    """Defines the flags of the command; called only when the command runs."""
    flags.DEFINE_string('workdir', None, 'a run folder; others after a comma')
    flags.DEFINE_enum('split', 'test', ('train', 'val', 'test'), 'split of the data')
    flags.DEFINE_string(
        'policy', '', 'a stage or an adapter folder; by default the last policy'
    )
    flags.DEFINE_string(
        'against', '', 'a stage, a folder or base; by default what the policy began as'
    )
    flags.DEFINE_string(
        'judge',
        '',
        f'a reward stage or folder, module:function, {", ".join(NAMES)}',
    )
    flags.DEFINE_string('judge_url', '', 'endpoint: http://host:8000/v1')
    flags.DEFINE_string(
        'judge_model', '', 'endpoint: its name there; model: a stage, folder, or base'
    )
    flags.DEFINE_string('judge_key_env', '', 'endpoint: the variable with the key')
    flags.DEFINE_string('judge_file', '', 'recorded: the file of verdicts')
    flags.DEFINE_string('judge_template', 'generic', 'question template: name or file')
    flags.DEFINE_bool('harmless', False, 'the judge also rates harmlessness')
    flags.DEFINE_integer('best_of', 0, 'samples per prompt for the best-of-n curve')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('workdir',))
