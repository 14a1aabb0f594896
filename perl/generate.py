"""Samples from a run's policy, or from any of its adapters, on the terminal.

python -m perl.generate --workdir=runs/quickstart --prompt='A table for two, please.'
echo 'A table for two, please.' | python -m perl.generate --workdir=runs/quickstart
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.data import batching, examples
from perl.rollout import sampler
from perl.rollout.choosing import Sampling
from perl.rollout.responses import decode
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.system import cli
from perl.system.errors import UserError


def generate(
    run: Run, params: Any, prompts: Sequence[str], sampling: Sampling, seed: int = 0
) -> list[str]:
    """One response a prompt, as text.

    Args:
        run: with tokenizer, architecture and mesh.
        params: bound or plain parameters.
        prompts: a long one loses its beginning.
        sampling: how tokens are chosen.
        seed: the same seed gives the same responses.
    """
    limit = run.arch.max_length - sampling.max_tokens
    if limit < 2:
        raise UserError(
            f'--max_tokens: {sampling.max_tokens} leaves no room for a prompt in a '
            f'window of {run.arch.max_length}'
        )
    data, _ = examples.encode(prompts, run.tokenizer, limit, sampling.max_tokens)
    batch = batching.left(data.prompts, run.tokenizer.pad)
    play = jax.jit(functools.partial(sampler.sample, run.arch, sampling=sampling))
    said = play(params, batch['tokens'], batch['lengths'], key=jax.random.key(seed))
    return decode(run.tokenizer, said, prompts)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    run = open_finished(values.workdir)
    adapter = values.adapter
    params = run.base if adapter == 'base' else run.role(adapter).bound()
    prompts = values.prompt or [line.rstrip('\n') for line in sys.stdin]
    if not prompts:
        raise UserError('--prompt: give one, or lines on standard input')
    sampling = Sampling(
        values.max_tokens or run.config.lengths.response,
        run.tokenizer.eos,
        values.temperature,
        values.top_k,
        values.top_p,
    )
    with jax.set_mesh(run.mesh):
        for text in generate(run, params, prompts, sampling, values.seed):
            print(text)


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    flags.DEFINE_string('workdir', None, 'a run folder')
    flags.DEFINE_string('adapter', 'policy', 'a stage, an adapter folder, or base')
    flags.DEFINE_multi_string('prompt', [], 'may be given several times')
    flags.DEFINE_integer('max_tokens', 0, 'of a response; 0 as the run had it', 0)
    flags.DEFINE_float('temperature', 1.0, '0 takes the most likely token', 0)
    flags.DEFINE_integer('top_k', 0, '0 keeps all', 0)
    flags.DEFINE_float('top_p', 1.0, '1 keeps all', 1e-9, 1)
    flags.DEFINE_integer('seed', 0, 'of the samples', 0, 2**32 - 1)


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('workdir',))
