"""Evaluates finished runs: reward models on held-out data, policies against another.

    python -m perl.evaluate --workdir=runs/quickstart
    python -m perl.evaluate --workdir=runs/quickstart --policy=policy --against=sft \
        --judge=reward

`--judge=endpoint` asks a language model over HTTP, `model` a base or an adapter of the
run, `recorded` a file of verdicts; what they say is kept in `judge.jsonl`. With
`--harmless` an endpoint or a model also says which responses do no harm.

Prints a table and writes `evaluation.json` and `evaluation/` into the run folder: see
`docs/evaluation.md`. More run folders after a comma join the first in its plot of
reward against KL; `--best_of=64` tells how far the reward model can be trusted.
"""

from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.config import lineage
from perl.evaluation import best_of_n, examine, reward_scores
from perl.evaluation.compare import compare
from perl.evaluation.figures import harmless
from perl.evaluation.labelling import (
    KINDS,
    RATERS,
    Opened,
    Settings,
    open_labeller,
    open_rater,
)
from perl.judges.asking import Asking
from perl.judges.language.questions import HARMLESS
from perl.report import evaluated
from perl.report.trajectories import ways
from perl.runs import panels, saved_config
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli, jsonl
from perl.system.errors import UserError


def evaluate(
    run: Run,
    split: str = 'test',
    policy: str = '',
    against: str = 'sft',
    judge: str = '',
    labeller: Opened | None = None,
    rater: harmless.Rater | None = None,
) -> dict[str, Any]:
    """Figures of every finished reward stage, and of a policy against another.

    Args:
        run: with its base.
        split: of the data.
        policy, against: stages of the run, or adapter folders; '' takes the last
            policy that is finished, if there is one.
        judge: `gold`, or the stage or folder of a reward model; '' is gold if there
            is one, else the reward model that the policy was trained on.
        labeller: who judges instead, under the name that `judge` gives.
        rater: who says which responses are harmless.
    """
    found = {}
    for name in _finished(run, 'reward'):
        role = panels.judge(run, name)
        found[name] = reward_scores.evaluate(run, name, role, split)
        found[name] |= examine.reward_model(run, name, role, split)
    policy = policy or _last_policy(run)
    if policy:
        named = judge and judge != 'gold' and labeller is None
        by = judge if named else _reward_of(run, policy)
        if judge == 'gold' and run.dataset.gold is None:
            raise UserError(
                f'--judge: {run.dataset.name} has no gold reward; give a reward stage'
            )
        decide = Asking(labeller.ask) if labeller else None
        figures, rows = compare(
            run,
            run.role(policy),
            run.role(against),
            panels.load_panel(run, by),
            split,
            'reward' if named else judge,
            decide,
        )
        figures |= examine.policy(run, rows, split, rater)
        if labeller:
            figures |= {**labeller.report(), 'unanswered': decide.unanswered}
        found[f'{policy} against {against}'] = figures
    return found


def _finished(run, what):
    """The stages that have left a reward model, or a policy."""
    return [
        name
        for name in run.config.stages
        if lineage.makes(run.config, name) == what and panels.exists(run, name)
    ]


def _last_policy(run):
    return (_finished(run, 'policy') or [''])[-1]


def _reward_of(run, policy):
    """The reward model of a policy; of one from elsewhere, the run's first."""
    if policy in run.config.stages and lineage.makes(run.config, policy) == 'policy':
        return lineage.reward_of(run.config, policy)
    return (_finished(run, 'reward') or ['reward'])[0]


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
    with jax.set_mesh(run.mesh):
        found = evaluate(
            run,
            values.split,
            values.policy,
            values.against,
            values.judge,
            _labeller(run, values),
            _rater(run, values),
        )
        if not found:
            raise UserError(
                f'--workdir: {first} has no finished reward or policy stage'
            )
        apart = {'frontier': ways([first, *others])}
        if values.best_of:
            policy = values.policy or _last_policy(run)
            apart['best_of_n'] = best_of_n.best_of_n(
                run,
                run.role(values.against),
                panels.load_panel(run, _reward_of(run, policy)),
                values.split,
                values.best_of,
            )
    jsonl.save(run.workdir / 'evaluation.json', found | apart)
    print(table(found))
    print(evaluated.write(run.workdir, found | apart))


def _labeller(run, values):
    if values.judge not in KINDS:
        return None
    return open_labeller(_settings(run, values), run)


def _rater(run, values):
    if not values.harmless:
        return None
    if values.judge not in RATERS:
        raise UserError(
            f'--harmless asks the judge: give --judge={" or ".join(RATERS)}'
        )
    chances = open_rater(_settings(run, values), run, HARMLESS)
    return harmless.from_chances(chances)


def _settings(run, values):
    return Settings(
        kind=values.judge,
        template=values.judge_template,
        answers=run.workdir / 'judge.jsonl',
        file=values.judge_file,
        url=values.judge_url,
        model=values.judge_model,
        server={'key_env': values.judge_key_env},
        flip=0.0,  # an annotator errs in training data only, as in AlpacaFarm
    )


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    flags.DEFINE_string('workdir', None, 'a run folder; others after a comma')
    flags.DEFINE_enum('split', 'test', ('train', 'val', 'test'), 'of the data')
    flags.DEFINE_string('policy', '', 'a stage or an adapter folder')
    flags.DEFINE_string('against', 'sft', 'a stage or an adapter folder')
    flags.DEFINE_string(
        'judge', '', 'gold, a reward stage or folder, endpoint, model, or recorded'
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
