"""Scores responses or pairs with a reward model of a finished run, or with an adapter.

    python -m perl.score --workdir=runs/quickstart --input=answers.jsonl
    python -m perl.score --workdir=runs/quickstart --reward=reward_full < answers.jsonl
    python -m perl.score --model=PATH --adapter=DIR --input=pairs.jsonl
    python -m perl.score --model=CLASSIFIER --input=pairs.jsonl

The input has a prompt and a response per row: a file of JSON lines, CSV or Parquet, or
JSON lines on standard input; or a prompt, a chosen and a rejected response. They may be
messages, which are rendered with the chat template. Prints the rows with their rewards
as JSON lines, or writes them to `--output`; of pairs, also how often the chosen
response has the higher reward.
"""

import sys
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags

from perl.data import chat, survey
from perl.data.sets.own_files import answers
from perl.judges import Judge, scores
from perl.models import bases
from perl.runs import classifiers, model_alone, reward_models
from perl.runs.judging import open_judge, scoring
from perl.runs.run import Run
from perl.system import cli, jsonl
from perl.system.errors import UserError

# the columns of rewards
REWARD = {x: f'{x}_reward' for x in answers.PAIR} | {'response': 'reward'}


def score(
    run: Run, reward: str | Judge, prompts: Sequence[str], responses: Sequence[str]
) -> np.ndarray:
    """The rewards of responses, float32 `[n]`, as in reinforcement learning: with the
    shift and the scale of the reward model. NaN means no verdict.

    Args:
        run: a run with its base.
        reward: a stage or a folder of a reward model or an ensemble, or another name,
            such as module:function, for `perl.runs.judging.open_judge`; '' means the
            last finished reward model.
        prompts, responses: n texts each, which are cut as in training.

    Raises:
        UserError: there is no such reward, or it cannot score single responses.
    """
    prompts = chat.as_trained(run.dataset, prompts)
    with jax.set_mesh(run.mesh):
        if isinstance(reward, str):
            reward = open_judge(reward or last_reward(run), run)
        return np.asarray(scores(reward)(prompts, responses), np.float32)


def last_reward(run: Run) -> str:
    """The last finished reward model.

    Raises:
        UserError: there is none.
    """
    names = reward_models.finished(run, 'reward')
    if not names:
        raise UserError(
            f'{run.workdir} has no finished reward stage; give --reward=FOLDER or '
            '--reward=module:function'
        )
    return names[-1]


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    output = cli.output(values.output, values.input) if values.output else None
    if output and output.exists():
        _check_ours(output)
    run, judge = _opened(values)
    rows, fields = answers.read(values.input)
    prompts, *responses = map(
        list, zip(*(answers.texts(x, fields) for x in rows), strict=True)
    )
    learned = bool(values.model) and model_alone.learned_messages(values.adapter)
    asked = model_alone.conversations(run, prompts, values.chat or learned)
    # at once, so that the responses of a pair share their prompt
    said = [text for column in responses for text in column]
    rewards = score(run, judge, [*asked] * len(responses), said)
    rewards = rewards.reshape(len(responses), -1)
    print(
        f'{judge.name}: {_summary(rewards)}{model_alone.AS_LEARNED * learned}',
        file=sys.stderr,
    )
    names = [REWARD[name] for name in fields[1:]]
    columns = {name: [row.values[name] for row in rows] for name in fields}
    columns |= dict(zip(names, rewards.tolist(), strict=True))
    scored = [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        jsonl.save_rows(output, scored)
    else:
        print(''.join(map(jsonl.line, scored)), end='')


def _check_ours(output):
    """Raises a `UserError` where a file holds no rewards."""
    try:
        with output.open(encoding='utf-8') as lines:
            first = jsonl.parse(next(lines, '{}'))
    except ValueError:
        first = {}
    if not {*REWARD.values()} & {*(first if isinstance(first, dict) else ())}:
        raise UserError(
            f'--output: {output} exists and has no rewards of perl.score; name another '
            'file, or move it away'
        )


def _opened(values):
    """The run and the judge that the flags name."""
    if values.adapter and values.reward:
        raise UserError('--adapter: give it or --reward')
    alone = not (values.adapter or values.reward or values.workdir)
    if alone and bases.is_classifier(values.model):
        run, reward = classifiers.load(values.model)
        return run, scoring(values.model, reward)
    run = model_alone.open_one(
        values.workdir, values.model, values.adapter, values.chat
    )
    if values.model and alone:
        raise UserError(
            '--adapter: give the folder of a reward model that was trained on --model'
        )
    return run, open_judge(values.adapter or values.reward or last_reward(run), run)


def _summary(rewards):
    """How many were scored, and how often the chosen one wins; a tie is half, and where
    a reward is NaN there is no verdict."""
    known = ~np.isnan(rewards).any(axis=0)
    missing = np.sum(~known)
    without = f', {missing} without a verdict' if missing else ''
    if len(rewards) == 1:
        return f'{survey.many(len(known), "response")}{without}'
    chosen, rejected = (x[known] for x in rewards)
    wins = (chosen > rejected) + 0.5 * (chosen == rejected)
    accuracy = f', accuracy {np.mean(wins):.1%}' if known.any() else ''
    return f'{survey.many(len(known), "pair")}{without}{accuracy}'


def define_flags() -> None:
    """Defines the flags of the command; called only when the command runs."""
    flags.DEFINE_string('workdir', '', 'a run folder')
    flags.DEFINE_string('model', '', 'or a model: a folder or file (docs/models.md)')
    flags.DEFINE_string('adapter', '', 'the folder of a reward model, ours or of PEFT')
    flags.DEFINE_string(
        'reward',
        '',
        'a stage, a folder or module:function; by default the last reward model',
    )
    flags.DEFINE_bool('chat', False, 'renders prompts with the chat template')
    flags.DEFINE_string('input', '', 'a file with a prompt and a response per row')
    flags.DEFINE_string('output', '', 'the .jsonl file to write rewards to')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
