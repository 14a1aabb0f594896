"""Evaluates finished runs: reward models on held-out data, policies against another.

    python -m perl.evaluate --workdir=runs/quickstart
    python -m perl.evaluate --workdir=runs/quickstart --policy=policy --against=sft \
        --judge=reward

`--judge` says who decides which response is better: a reward model by its stage or
folder, `gold`, a Python function `module:function`, a language model over HTTP
(`endpoint`) or of the run (`model`), or a file of answers (`recorded`). The answers of
a language model are kept in `judge.jsonl`. With `--harmless` it also says which
responses do no harm.

Prints a table and writes `evaluation.json` and `evaluation/` into the run folder, or
`evaluation_val.json` and `evaluation_val/` with `--split=val`: see
`docs/evaluation.md`. More run folders after a comma join the first in its plot of
reward against KL; `--best_of=64` tells how far the reward model can be trusted.
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
from perl.evaluation.figures.against_baselines import sentence
from perl.judges import Judge, Reward
from perl.judges.language.questions import HARMLESS
from perl.report import evaluation_report
from perl.report.trajectories import trajectories
from perl.runs import reward_models, saved_config
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
    against: str = 'sft',
    judge: Judge | str = '',
    rater: Reward | None = None,
) -> dict[str, Any]:
    """Figures of every finished reward stage, and of a policy against another.

    Args:
        run: with its base.
        split: of the data.
        policy, against: stages of the run, or adapter folders; '' takes the last
            policy that is finished, if there is one.
        judge: decides who wins, opened or by name; '' is the exact reward, if there is
            one, else the reward that the policy was trained on. A judge made of reward
            models also gives the rewards that are reported.
        rater: the probability that a response is harmless.
    """
    found = {}
    for name in reward_models.finished(run, 'reward'):
        role = reward_models.load(run, name)
        found[name] = reward_scores.evaluate(run, name, role, split)
        found[name] |= examine.reward_model(run, name, role, split)
    policy = policy or _last_policy(run)
    if policy:
        if isinstance(judge, str):
            judge = open_judge(judge, run) if judge else None
        rewards = judge is not None and judge.panel is not None
        figures, rows = compare(
            run,
            run.role(policy),
            run.role(against),
            judge if rewards else _reward_of(run, policy),
            split,
            judge,
            _trained_by(run, policy),
        )
        figures |= examine.policy(run, rows, split, rater)
        found[f'{policy} against {against}'] = figures
    return found


def _last_policy(run):
    return (reward_models.finished(run, 'policy') or [''])[-1]


def _reward_of(run, policy):
    """The reward of a policy; of one from elsewhere, the run's first reward model."""
    if policy in run.config.stages and lineage.makes(run.config, policy) == 'policy':
        return open_reward(run, policy)
    first = (reward_models.finished(run, 'reward') or ['reward'])[0]
    return open_judge(first, run)


def _trained_by(run, policy):
    """Whose rewards trained a policy; None for one from elsewhere."""
    if policy in run.config.stages:
        return lineage.trained_by(run.config, policy)
    return None


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = []
    for name, figures in found.items():
        interval = figures.get('ci95', {})
        shown = []
        for key in ('accuracy', 'balanced_accuracy', 'auc', 'win_rate'):
            if key in figures:
                low, high = interval.get(key) or figures[f'{key}_ci95']
                shown.append(f'{key} {figures[key]:.3f} [{low:.3f}, {high:.3f}]')
        for key in ('reward_before', 'reward_after', 'gold_before', 'gold_after', 'kl'):
            if key in figures:
                shown.append(f'{key} {figures[key]:.3f}')
        if 'calibration' in figures:
            found_in = figures['calibration']
            errors = [f'{found_in[when]["ece"]:.3f}' for when in ('before', 'after')]
            shown.append(f'ece {" → ".join(errors)} at {found_in["temperature"]:.3g}')
        if figures.get('unanswered'):
            shown.append(f'{figures["unanswered"]} questions without a verdict')
        lines.append(f'{name}: n={figures["n"]}, ' + ', '.join(shown))
        if comparison := sentence(figures):
            lines.append(f'{name}: {comparison}')
    return '\n'.join(lines)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    first, *others = values.workdir.split(',')
    for other in others:
        saved_config.saved(other)
    run = open_finished(first)
    if values.best_of:
        best_of_n.check(run, values.split, values.best_of)
    policy = values.policy or _last_policy(run)
    if not values.policy:
        _say_which(run)
    output = run.workdir / f'{evaluation_report.folder_of(values.split)}.json'
    with jax.set_mesh(run.mesh), lock.exclusive_file(output):
        found = evaluate(
            run,
            values.split,
            policy,
            values.against,
            _judge(run, values),
            _rater(run, values),
        )
        if not found:
            raise UserError(
                f'--workdir: {first} has no finished reward or policy stage'
            )
        apart = {
            'split': values.split,
            'computed': environment.describe(),
            'frontier': trajectories([first, *others]),
        }
        if values.best_of:
            apart['best_of_n'] = best_of_n.best_of_n(
                run,
                run.role(values.against),
                _reward_of(run, policy),
                values.split,
                values.best_of,
            )
        jsonl.save(output, found | apart)
        print(table(found))
        print(evaluation_report.write(run.workdir, found | apart))


def _say_which(run):
    """Says which policy is taken where there are several."""
    names = reward_models.finished(run, 'policy')
    if len(names) > 1:
        print(
            f'policy: {names[-1]}, the last of {", ".join(names)}; --policy names '
            'another',
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
            f'--harmless asks the judge: give --judge={" or ".join(LANGUAGE)}'
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
        flip=0.0,  # an annotator errs in training data only, as in AlpacaFarm
    )


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    flags.DEFINE_string('workdir', None, 'a run folder; others after a comma')
    flags.DEFINE_enum('split', 'test', ('train', 'val', 'test'), 'of the data')
    flags.DEFINE_string('policy', '', 'a stage or an adapter folder')
    flags.DEFINE_string('against', 'sft', 'a stage or an adapter folder')
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
    flags.DEFINE_string('judge_template', 'generic', 'of the question: name or file')
    flags.DEFINE_bool('harmless', False, 'the judge also says what is harmless')
    flags.DEFINE_integer('best_of', 0, 'samples a prompt for the best-of-n curve')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('workdir',))
