"""Labels pairs of responses: a judge says which is better, and how surely.

    python -m perl.label --comparisons=pairs.jsonl --output=labels.jsonl \
        --labeller=endpoint --url=http://localhost:8000/v1 --model=qwen
    python -m perl.label --workdir=runs/quickstart --sample --output=labels.jsonl \
        --labeller=annotators

The labeller is any judge: an endpoint, a base or an adapter of a finished run
(`model`), a reward model by its stage or folder, a Python function `module:function`,
`gold`, `annotators`, or a file of recorded answers (`recorded`). The pairs are those of
a file, a config or a run, or with `--sample` two responses of a run's policy to each
prompt. Answers are kept beside the output, so that the same command goes on where it
was stopped. The output is comparisons that the dataset `files` reads.
"""

import contextlib
import math
import pathlib
from collections.abc import Sequence

import jax
from absl import flags

from perl.config.loading import load_config
from perl.data.records import SPLITS
from perl.evaluation import pair_sources
from perl.evaluation.labelled_pairs import beside, save, table
from perl.rollout.choosing import Sampling
from perl.runs.judging import NAMES, Settings, open_judge
from perl.runs.opening import open_data, open_finished
from perl.system import cli, jsonl, lock
from perl.system.errors import UserError


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    _check_numbers(values)
    output = _apart(pathlib.Path(values.output), values.comparisons, values.file)
    with lock.exclusive_file(output):
        figures = _label(values, output)
    print(table(figures))
    if not figures['labelled']:
        raise UserError(
            f'{values.labeller}: gave no verdict on any pair; where they were too long '
            'take a shorter --template or another model, where the answers name no '
            'option look at them in the file of answers'
        )


def _label(values, output):
    """The summary of all that the flags ask for."""
    run = open_finished(values.workdir) if values.workdir else None
    home = run  # of the judge
    if values.labeller_workdir:
        home = open_finished(values.labeller_workdir)
    # the judge is opened first, so that a wrong setting is found before hours of work
    with _on(home):
        judge = open_judge(values.labeller, home, _settings(values, output))
    with _on(run):
        comparisons, gold = _pairs(values, values.config, run, output)
    with _on(home):
        return save(output, comparisons[: values.limit or None], judge, gold)


def _check_numbers(values):
    """Raises a `UserError` for NaN or infinity, which pass the bounds of a flag."""
    for name in ('temperature', 'flip', 'timeout'):
        if not math.isfinite(values[name].value):
            raise UserError(f'--{name}: {values[name].value} must be a finite number')


def _apart(output, *inputs):
    """The output, which must not be a file that is read."""
    if output.resolve() in [pathlib.Path(file).resolve() for file in inputs if file]:
        raise UserError(f'--output: {output} is read from here; name another file')
    return output


def _pairs(values, config, run, output):
    """The pairs that the flags ask for, and the exact reward where there is one."""
    if bool(values.comparisons) + bool(config) + values.sample > 1:
        raise UserError('give one of --comparisons, --config and --sample')
    if values.comparisons:
        return pair_sources.of_file(values.comparisons, _columns(values.columns)), None
    if run is None and (values.sample or not config):
        raise UserError('give --comparisons, --config, or --workdir with a run folder')
    dataset = open_data(config) if config else run.dataset
    if values.sample:
        sampling = Sampling(
            run.config.lengths.response, run.tokenizer.eos, values.temperature
        )
        comparisons = pair_sources.of_policy(
            run,
            values.adapter,
            dataset.prompts[values.split][: values.limit or None],
            sampling,
            beside(output, 'pairs.jsonl'),
            values.seed,
        )
    else:
        comparisons = pair_sources.of_dataset(dataset, values.split)
    return comparisons, dataset.gold


def _on(run):
    return jax.set_mesh(run.mesh) if run else contextlib.nullcontext()


def _settings(values, output):
    client, endpoint = (
        {name: values[name].value for name in names}
        for names in (
            ('key_env', 'timeout', 'retries'),
            ('max_tokens', 'logprobs', 'concurrency'),
        )
    )
    return Settings(
        template=values.template,
        answers=beside(output, 'answers.jsonl'),
        file=values.file,
        url=values.url,
        model=values.model,
        client=client,
        endpoint={**endpoint, 'extra': _extra(values.extra)},
        flip=values.flip,
        seed=values.seed,
    )


def _extra(text):
    try:
        fields = jsonl.parse(text or '{}')
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UserError(f'--extra: {text!r:.60} is not a JSON object')
    return fields


def _columns(assignments):
    parts = [part.partition('=') for part in assignments]
    for field, equals, column in parts:
        if not (field and equals and column):
            raise UserError(f'--columns: write field=column, not {field + equals!r}')
    return {field: column for field, _, column in parts}


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    cli.define_config(load_config)
    flags.DEFINE_string('output', None, 'where the labels go, a .jsonl file')
    flags.DEFINE_string(
        'labeller', None, f'a judge: {", ".join(NAMES)}, a reward stage, a folder, '
        'or module:function'
    )  # fmt: skip
    flags.DEFINE_string('comparisons', '', 'a file of pairs: JSONL, CSV, Parquet')
    flags.DEFINE_list('columns', [], 'of that file, such as prompt=question')
    flags.DEFINE_string('workdir', '', 'a run folder: its pairs, policy and model')
    flags.DEFINE_enum('split', 'train', SPLITS, 'of the data')
    flags.DEFINE_integer('limit', 0, 'the first so many pairs or prompts; 0 all', 0)
    flags.DEFINE_bool('sample', False, 'pairs are two responses of the policy')
    flags.DEFINE_string('adapter', 'sft', 'the policy: a stage, a folder, or base')
    flags.DEFINE_float('temperature', 1.0, 'of the samples', 0)
    flags.DEFINE_integer(
        'seed', 0, 'of the samples and of the annotators', 0, 2**32 - 1
    )
    flags.DEFINE_string('template', 'generic', 'of the question: a name or a file')
    flags.DEFINE_string('file', '', 'recorded: the file of answers')
    flags.DEFINE_float('flip', 0.25, 'annotators: how often one errs', 0, 0.5)
    flags.DEFINE_string('labeller_workdir', '', 'model: the run it is in, if another')
    flags.DEFINE_string(
        'model', '', 'endpoint: its name there; model: a stage, a folder, or base'
    )
    flags.DEFINE_string('url', '', 'endpoint: base address, http://host:8000/v1')
    flags.DEFINE_string('key_env', '', 'endpoint: the variable that holds the key')
    flags.DEFINE_float(
        'timeout', 60, 'endpoint: seconds from a question to its whole answer', 1e-3
    )
    flags.DEFINE_integer('retries', 5, 'endpoint: of a question that fails', 0)
    flags.DEFINE_integer('concurrency', 8, 'endpoint: questions at once', 1)
    flags.DEFINE_integer('max_tokens', 16, 'endpoint: of an answer', 1)
    flags.DEFINE_bool('logprobs', True, 'endpoint: ask for them, for soft labels')
    flags.DEFINE_string('extra', '', 'endpoint: more fields of a request, as JSON')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('output', 'labeller'))
