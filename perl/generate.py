"""Samples from a run's policy, or from any of its adapters, on the terminal.

python -m perl.generate --workdir=runs/quickstart --prompt='A table for two, please.'
echo 'A table for two, please.' | python -m perl.generate --workdir=runs/quickstart

Prints the responses; where there are several prompts each stands above its response.
With `--json` a line is one object with prompt and response.
"""

import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.config import lineage
from perl.data import examples
from perl.evaluation.responses import respond
from perl.rollout.choosing import Sampling
from perl.runs import reward_models
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli, jsonl
from perl.system.errors import UserError


def generate(
    run: Run,
    policy: Any,
    prompts: Sequence[str],
    sampling: Sampling | None = None,
    seed: int = 0,
) -> list[str]:
    """One response to each prompt, as text.

    Args:
        run: with its base.
        policy: a stage, an adapter folder, `base`, '' for the last that is finished; or
            parameters, bound or plain.
        prompts: a long one loses its beginning.
        sampling: how tokens are chosen; by default as the run does.
        seed: the same seed gives the same responses.

    Raises:
        UserError: there is no such policy, or no room for a prompt.
    """
    if isinstance(policy, str):
        policy = policy or last_policy(run)
        sampling = sampling or run_sampling(run, policy)
        policy = parameters(run, policy)
    elif sampling is None:
        sampling = run_sampling(run, '')
    with jax.set_mesh(run.mesh):
        key = jax.random.key(seed)
        return respond(run, policy, prompts, sampling, key, room(run, sampling))


def last_policy(run: Run) -> str:
    """The last policy that is finished; without one the SFT model, else the base."""
    for product in ('policy', 'sft'):
        names = reward_models.finished(run, product)
        if names:
            return names[-1]
    return 'base'


def parameters(run: Run, name: str) -> Any:
    """What the model of a stage, of an adapter folder, or `base` computes with."""
    return run.base if name == 'base' else run.role(name).bound()


def run_sampling(run: Run, name: str) -> Sampling:
    """As a policy stage samples in training; of others as the evaluation does."""
    config, temperature = run.config, run.config.evaluation.temperature
    if name in config.stages and lineage.makes(config, name) == 'policy':
        stage = config[lineage.origin(config, name)]
        temperature = stage.get('temperature', temperature)
    return Sampling(config.lengths.response, run.tokenizer.eos, temperature)


def room(run: Run, sampling: Sampling) -> int:
    """Tokens that a prompt may have in the model's window.

    Raises:
        UserError: fewer than two.
    """
    limit = run.arch.max_length - sampling.max_tokens
    if limit < 2:
        raise UserError(
            f'--max_tokens: {sampling.max_tokens} leaves no room for a prompt in a '
            f'window of {run.arch.max_length}'
        )
    return limit


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    run = open_finished(values.workdir)
    policy = values.adapter or last_policy(run)
    sampling = _sampling(run, policy, values)
    params = parameters(run, policy)
    prompts = values.prompt or cli.read_lines()
    if not prompts:
        raise UserError('--prompt: give one, or lines on standard input')
    limit = room(run, sampling)
    _, counts = examples.encode(prompts, run.tokenizer, limit, sampling.max_tokens)
    note = f'{policy}, temperature {sampling.temperature:g}'
    if counts['prompts_cut']:
        note += (
            f'; {counts["prompts_cut"]} of {len(prompts)} prompts lost their beginning'
        )
    print(note, file=sys.stderr)
    texts = generate(run, params, prompts, sampling, values.seed)
    for prompt, text in zip(prompts, texts, strict=True):
        if values.json:
            print(jsonl.line({'prompt': prompt, 'response': text}), end='')
        else:
            print(f'> {prompt}\n{text}\n' if len(prompts) > 1 else text)


def _sampling(run, policy, values):
    """The run's sampling with what the flags change."""
    usual = run_sampling(run, policy)
    temperature = values.temperature
    return Sampling(
        values.max_tokens or usual.max_tokens,
        usual.eos,
        usual.temperature if temperature is None else temperature,
        values.top_k,
        values.top_p,
    )


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    flags.DEFINE_string('workdir', None, 'a run folder')
    flags.DEFINE_string(
        'adapter', '', 'a stage, an adapter folder, or base; the last policy'
    )
    flags.DEFINE_multi_string('prompt', [], 'may be given several times')
    flags.DEFINE_integer('max_tokens', 0, 'of a response; 0 as the run had it', 0)
    flags.DEFINE_float(
        'temperature', None, '0 takes the most likely token; as the run had it', 0
    )
    flags.DEFINE_integer('top_k', 0, '0 keeps all', 0)
    flags.DEFINE_float('top_p', 1.0, '1 keeps all', 1e-9, 1)
    flags.DEFINE_integer('seed', 0, 'of the samples', 0, 2**32 - 1)
    flags.DEFINE_bool('json', False, 'print lines of JSON')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('workdir',))
