"""Labels pairs of responses with preferences of a judge.

    python -m perl.label --comparisons=pairs.jsonl --output=labels.jsonl \
        --labeller=endpoint --url=http://localhost:8000/v1 --model=qwen
    python -m perl.label --workdir=runs/quickstart --sample --output=labels.jsonl \
        --labeller=annotators

The labeller is any judge: an endpoint, a base or an adapter of a finished run
(`model`), a reward model by its stage or folder, a Python function `module:function`,
`gold`, `annotators`, or a file of recorded answers (`recorded`). The pairs are those of
a file, a config or a run, or with `--sample` two responses of a run's policy to each
prompt. Answers are stored beside the output, so that the same command continues where
it stopped. The output is comparisons that the dataset `files` reads.
"""

import contextlib
import math
from collections.abc import Sequence

import jax
from absl import flags

from perl.config.loading import load_config
from perl.data.chat import stops
from perl.data.files.paths import expand
from perl.data.records import SPLITS
from perl.evaluation import pair_sources
from perl.evaluation.labelled_pairs import beside, check_output, save, table
from perl.judges.names import KNOWN
from perl.rollout.choosing import Sampling
from perl.runs.judging import Settings, open_judge
from perl.runs.opening import open_data, open_finished
from perl.system import cli, jsonl, lock
from perl.system.errors import UserError
from perl.system.json_keys import RepeatedKey


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    _check_numbers(values)
    output = cli.output(values.output, values.comparisons, values.file)
    with lock.exclusive_file(output):
        figures = _label(values, output)
    print(table(figures))
    if not figures['labelled']:
        raise UserError(
            f'{values.labeller}: gave no verdict on any pair; if the pairs are too '
            'long, use a shorter --template or another model; if the answers name no '
            'option, look at them in the file of answers'
        )


def _label(values, output):
    """Labels the pairs that the flags name; returns the summary."""
    run = open_finished(values.workdir) if values.workdir else None
    judge_run = run
    if values.labeller_workdir:
        judge_run = open_finished(values.labeller_workdir)
    # the judge is opened first, so that a wrong setting fails before hours of work
    with _on(judge_run):
        judge = open_judge(values.labeller, judge_run, _settings(values, output))
    check_output(output, judge)
    with _on(run):
        comparisons, gold = _pairs(values, values.config, run, output)
    with _on(judge_run):
        return save(output, comparisons[: values.limit or None], judge, gold)


def _check_numbers(values):
    """Raises a `UserError` for NaN or infinity, which pass the bounds of a flag."""
    for name in ('temperature', 'flip', 'timeout'):
        if not math.isfinite(values[name].value):
            raise UserError(f'--{name}: {values[name].value} must be a finite number')


def _pairs(values, config, run, output):
    """The pairs that the flags name, and the exact reward if there is one."""
    if bool(values.comparisons) + bool(config) + values.sample > 1:
        raise UserError('give one of --comparisons, --config and --sample')
    if values.columns and not values.comparisons:
        raise UserError('--columns: they are those of --comparisons; give that too')
    if values.comparisons:
        # a folder or a pattern may hold the labels of an earlier command
        files = expand(values.comparisons, '--comparisons')
        cli.output(values.output, *map(str, files))
        return pair_sources.of_file(values.comparisons, _columns(values.columns)), None
    if run is None and (values.sample or not config):
        raise UserError('give --comparisons, --config, or --workdir with a run folder')
    dataset = open_data(config) if config else run.dataset
    if values.sample:
        sampling = Sampling(
            run.config.lengths.response, stops(run.tokenizer), values.temperature
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
    except RepeatedKey as error:
        raise UserError(f'--extra: {error}; keep one of the two') from None
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
    """Defines the flags of the command; called only when the command runs."""
    cli.define_config(load_config)
    flags.DEFINE_string('output', None, 'the .jsonl file to write labels to')
    flags.DEFINE_string(
        'labeller', None, f'a judge: {", ".join(KNOWN)}, a reward stage, a folder, '
        'or module:function'
    )  # fmt: skip
    flags.DEFINE_string('comparisons', '', 'a file of pairs: JSONL, CSV, Parquet')
    flags.DEFINE_list('columns', [], 'of that file, such as prompt=question')
    flags.DEFINE_string('workdir', '', 'a run folder: its pairs, policy and model')
    flags.DEFINE_enum('split', 'train', SPLITS, 'split of the data')
    flags.DEFINE_integer('limit', 0, 'use the first N pairs or prompts; 0: all', 0)
    flags.DEFINE_bool('sample', False, 'sample two responses of the policy per prompt')
    flags.DEFINE_string('adapter', 'sft', 'the policy: a stage, a folder, or base')
    flags.DEFINE_float('temperature', 1.0, 'sampling temperature', 0)
    flags.DEFINE_integer('seed', 0, 'seed of samples and annotators', 0, 2**32 - 1)
    flags.DEFINE_string('template', 'generic', 'question template: a name or a file')
    flags.DEFINE_string('file', '', 'recorded: the file of answers')
    flags.DEFINE_float('flip', 0.25, 'annotators: share of flipped labels', 0, 0.5)
    flags.DEFINE_string('labeller_workdir', '', "model: the model's run, if another")
    flags.DEFINE_string(
        'model', '', 'endpoint: its name there; model: a stage, a folder, or base'
    )
    flags.DEFINE_string('url', '', 'endpoint: base address, http://host:8000/v1')
    flags.DEFINE_string('key_env', '', 'endpoint: the variable that holds the key')
    flags.DEFINE_float(
        'timeout', 60, 'endpoint: seconds from a question to its whole answer', 1e-3
    )
    flags.DEFINE_integer('retries', 5, 'endpoint: retries of a failed question', 0)
    flags.DEFINE_integer('concurrency', 8, 'endpoint: questions at once', 1)
    flags.DEFINE_integer('max_tokens', 16, 'endpoint: most tokens of an answer', 1)
    flags.DEFINE_bool('logprobs', True, 'endpoint: use log-probs for soft labels')
    flags.DEFINE_string('extra', '', 'endpoint: more fields of a request, as JSON')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('output', 'labeller'))
