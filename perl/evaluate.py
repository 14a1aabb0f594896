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

import jax
from absl import flags

from perl.evaluation import best_of_n
from perl.evaluation.finished_run import (
    evaluate,
    last_policy,
    reward_of,
    role_of,
    start_of,
)
from perl.judges.language.questions import HARMLESS
from perl.judges.names import KNOWN, LANGUAGE
from perl.report import evaluation_report, run_folder
from perl.report.evaluation_text import table
from perl.report.trajectories import trajectories
from perl.runs import reward_models, saved_config, teachers
from perl.runs.judging import Settings, open_judge
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli, environment, jsonl, lock
from perl.system.errors import UserError

ANSWERS = 'judge.jsonl'  # of language models; all evaluations of a run share the file


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    first, *others = values.workdir.split(',')
    run = open_folders(first, *others)
    policy = teachers.stage_of(run, values.policy) or last_policy(run)
    if values.best_of:
        best_of_n.check(run, values.split, values.best_of)
        proxy = reward_of(run, policy)
        if proxy is None:
            raise UserError(
                '--best_of: the run has no reward that chooses; leave it out'
            )
    if not values.policy:
        _print_policy(run)
    output = run.workdir / f'{evaluation_report.folder_of(values.split)}.json'
    with jax.set_mesh(run.mesh), lock.exclusive_files(output, run.workdir / ANSWERS):
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
                role_of(run, values.against or start_of(run, policy)),
                proxy,
                values.split,
                values.best_of,
            )
        jsonl.save(output, evaluation | extra)
        print(table(evaluation))
        print(evaluation_report.redraw_split(run.workdir, values.split))


def open_folders(first: str, *others: str) -> Run:
    """The run to evaluate; the others, which are drawn beside it, are only checked.

    Raises:
        UserError: one of them is not a run folder, or has a file that cannot be read.
    """
    for other in others:
        saved_config.saved(other)
    run = open_finished(first)
    for folder in (first, *others):
        run_folder.check(folder)
    return run


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
    return values.judge and open_judge(values.judge, run, _settings(run, values))


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
        answers=run.workdir / ANSWERS,
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
        f'a reward stage or folder, module:function, {", ".join(KNOWN)}',
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
