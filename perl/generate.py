"""Samples responses from a run's policy, from any of its adapters, or from a model.

python -m perl.generate --workdir=runs/quickstart --prompt='A table for two, please.'
echo 'A table for two, please.' | python -m perl.generate --workdir=runs/quickstart
python -m perl.generate --model=PATH --adapter=DIR --prompt=Hello --max_tokens=48
python -m perl.generate --model=PATH --chat --prompt=Hello --temperature=0

Prints the responses; with several prompts, each prompt is printed above its response.
With `--json` each line is an object with prompt and response.
"""

import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.config import lineage
from perl.data import chat, examples
from perl.evaluation.responses import respond
from perl.models import files
from perl.rollout.choosing import Sampling
from perl.runs import reward_models
from perl.runs.model_alone import AS_LEARNED, conversations, learned_messages, open_one
from perl.runs.run import Run
from perl.system import cli, jsonl, standard_input
from perl.system.errors import UserError

_MOST = 128  # tokens of a response of a model without a run


def generate(
    run: Run,
    policy: Any,
    prompts: Sequence[str],
    sampling: Sampling | None = None,
    seed: int = 0,
) -> list[str]:
    """One response to each prompt, as text.

    Args:
        run: a run with its base.
        policy: a stage, an adapter folder, `base`, or '' for the last finished policy;
            or parameters, bound or plain.
        prompts: the prompts; a long prompt loses its beginning.
        sampling: how tokens are chosen; by default as in the run.
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
        most = room(run, sampling)
        return respond(run, policy, prompts, sampling, key, most)


def last_policy(run: Run) -> str:
    """The last finished policy; if there is none, the SFT model, else the base."""
    for product in ('policy', 'sft'):
        names = reward_models.finished(run, product)
        if names:
            return names[-1]
    return 'base'


def parameters(run: Run, name: str) -> Any:
    """The parameters of a stage, of an adapter folder, or of `base`."""
    return run.base if name == 'base' else run.role(name).bound()


def run_sampling(run: Run, name: str) -> Sampling:
    """The sampling of a policy stage in training; for others that of the evaluation."""
    config, temperature = run.config, run.config.evaluation.temperature
    if name in config.stages and lineage.makes(config, name) == 'policy':
        stage = config[lineage.origin(config, name)]
        temperature = stage.get('temperature', temperature)
    return Sampling(config.lengths.response, _ends(run), temperature)


def _ends(run: Run) -> int | tuple[int, ...]:
    """The ids that end a response; for a model without a run, also those that its files
    name."""
    ends, path = chat.stops(run.tokenizer), run.config.model.path
    if run.config.stages:
        return ends
    ends = ends if isinstance(ends, tuple) else (ends,)
    return tuple(dict.fromkeys((*ends, *files.stops(path))))


def room(run: Run, sampling: Sampling) -> int:
    """The most tokens that a prompt may have in the model's window.

    Raises:
        UserError: there is room for fewer than two.
    """
    limit = run.arch.max_length - sampling.max_tokens
    if limit < 2:
        raise UserError(
            f'--max_tokens: {sampling.max_tokens} leaves no room for a prompt in a '
            f'window of {run.arch.max_length}; give fewer'
        )
    return limit


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    run = open_one(values.workdir, values.model, values.adapter, values.chat)
    policy = values.adapter or ('base' if values.model else last_policy(run))
    sampling = _sampling(run, policy, values)
    params = parameters(run, policy)
    prompts = values.prompt or standard_input.lines()
    if not prompts:
        raise UserError('--prompt: give one, or lines on standard input')
    learned = bool(values.model) and learned_messages(values.adapter)
    if values.chat or learned:
        prompts = conversations(run, prompts)
    prompts = chat.as_trained(run.dataset, prompts)
    limit = room(run, sampling)
    _, counts = examples.encode(prompts, run.tokenizer, limit, sampling.max_tokens)
    note = f'{policy}, temperature {sampling.temperature:g}{AS_LEARNED * learned}'
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
    """The run's sampling with the changes of the flags."""
    default = run_sampling(run, policy)
    temperature = values.temperature
    most = min(default.max_tokens, _MOST) if values.model else default.max_tokens
    return Sampling(
        values.max_tokens or most,
        default.eos,
        default.temperature if temperature is None else temperature,
        values.top_k,
        values.top_p,
    )


def define_flags() -> None:
    """Defines the flags of the command; called only when the command runs."""
    flags.DEFINE_string('workdir', '', 'a run folder')
    flags.DEFINE_string('model', '', 'or a model: a folder or file (docs/models.md)')
    flags.DEFINE_string(
        'adapter', '', 'a stage, an adapter folder, or base; by default the last policy'
    )
    flags.DEFINE_multi_string('prompt', [], 'may be given several times')
    flags.DEFINE_integer('max_tokens', 0, 'most tokens; 0: as in the run, or 128', 0)
    flags.DEFINE_float(
        'temperature', None, '0: the most likely token; by default as in the run', 0
    )
    flags.DEFINE_integer('top_k', 0, '0 keeps all tokens', 0)
    flags.DEFINE_float('top_p', 1.0, '1 keeps all tokens', 1e-9, 1)
    flags.DEFINE_integer('seed', 0, 'seed of the samples', 0, 2**32 - 1)
    flags.DEFINE_bool('chat', False, 'renders prompts with the chat template')
    flags.DEFINE_bool('json', False, 'print lines of JSON')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
