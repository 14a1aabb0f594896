"""Scores responses with a reward model of a finished run.

    python -m perl.score --workdir=runs/quickstart --input=answers.jsonl
    python -m perl.score --workdir=runs/quickstart --reward=reward_full < answers.jsonl

The input has a prompt and a response per row: a file of JSON lines, CSV or Parquet, or
JSON lines on standard input. Prints the rows with their rewards as JSON lines, or
writes them to `--output`.
"""

import pathlib
import sys
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from absl import flags

from perl.data import chat
from perl.data.files.rows import Row, read_rows
from perl.judges import Judge, scores
from perl.runs import reward_models
from perl.runs.judging import open_judge
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli, jsonl
from perl.system.errors import UserError

FIELDS = ('prompt', 'response')


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
    run = open_finished(values.workdir)
    judge = open_judge(values.reward or last_reward(run), run)
    rows = [*(read_rows(values.input, FIELDS) if values.input else _from_stdin())]
    if not rows:
        raise UserError('--input: give a file, or JSON lines on standard input')
    texts = [[row.text(name) for row in rows] for name in FIELDS]
    rewards = score(run, judge, *texts)
    print(f'{judge.name}: {len(rows)} responses', file=sys.stderr)
    scored = [
        {'prompt': prompt, 'response': response, 'reward': float(x)}
        for prompt, response, x in zip(*texts, rewards, strict=True)
    ]
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        jsonl.save_rows(output, scored)
    else:
        print(''.join(map(jsonl.line, scored)), end='')


def _from_stdin() -> Iterable[Row]:
    for number, line in enumerate(cli.read_lines(), 1):
        try:
            values = jsonl.parse(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not {*FIELDS} <= values.keys():
            raise UserError(
                f'standard input, line {number}: not a JSON object with prompt and '
                'response'
            )
        yield Row(pathlib.Path('standard input'), number, values)


def define_flags() -> None:
    """Defines the flags of the command; called only when the command runs."""
    flags.DEFINE_string('workdir', None, 'a run folder')
    flags.DEFINE_string(
        'reward',
        '',
        'a stage, a folder or module:function; by default the last reward model',
    )
    flags.DEFINE_string('input', '', 'a file with a prompt and a response per row')
    flags.DEFINE_string('output', '', 'the .jsonl file to write rewards to')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('workdir',))
