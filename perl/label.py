"""Labels pairs of responses by AI feedback: which is better, and how surely.

    python -m perl.label --comparisons=pairs.jsonl --output=labels.jsonl \
        --labeller=endpoint --url=http://localhost:8000/v1 --model=qwen
    python -m perl.label --workdir=runs/quickstart --sample --output=labels.jsonl \
        --labeller=annotators

`--labeller=model` asks a base or an adapter of a finished run, `recorded` reads a file.
The pairs are a file's, a config's, a run's, or with `--sample` two responses a prompt
of a run's policy. What was answered is kept beside the output, so that the same
command goes on where it was stopped. The output is comparisons that `files` reads.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from perl.data.records import SPLITS, Comparison, Dataset, pairs
from perl.data.sets.own_files import reader as own_files
from perl.evaluation.labelling import (
    KINDS,
    Opened,
    Settings,
    label,
    open_labeller,
)
from perl.evaluation.sampled_pairs import sample_pairs
from perl.rollout.sampler import Sampling
from perl.runs.opening import open_data, open_finished
from perl.runs.run import Run
from perl.system import cli, jsonl
from perl.system.errors import UserError


def save(
    output: pathlib.Path,
    found: Sequence[Comparison],
    labeller: Opened,
    gold: Callable[[str, str], float] | None = None,
) -> dict[str, Any]:
    """Labels pairs, writes them and their summary, and returns the summary.

    Args:
        output: the file of labels; the summary is put beside it.
        found: the pairs.
        labeller: who is asked.
        gold: the exact reward, where there is one.
    """
    rows, figures = label(found, labeller.ask, gold)
    figures |= labeller.report()
    output.parent.mkdir(parents=True, exist_ok=True)
    jsonl.replace(output, ''.join(map(jsonl.line, rows)))
    text = json.dumps(jsonl.plain(figures), indent=2) + '\n'
    jsonl.replace(beside(output, 'summary.json'), text)
    return figures


def beside(output: pathlib.Path, name: str) -> pathlib.Path:
    """`labels.<name>` of `labels.jsonl`."""
    return output.with_name(f'{output.name.removesuffix(".jsonl")}.{name}')


def from_file(file: str, columns: dict[str, str]) -> list[Comparison]:
    """The pairs of a file of comparisons, in its order."""
    comparisons = own_files.read_comparisons(file, columns)
    return [pair for row in comparisons for pair in pairs(row)]


def from_dataset(dataset: Dataset, split: str) -> list[Comparison]:
    """The pairs of a data set's split."""
    found = [pair for row in dataset.comparisons[split] for pair in pairs(row)]
    if not found:
        raise UserError(
            f'{dataset.name} has no comparisons in its {split} split; give another, '
            'or --sample'
        )
    return found


def sampled(run: Run, values: Any, file: pathlib.Path) -> list[Comparison]:
    """Pairs of responses of the run's policy that differ and are not empty."""
    prompts = run.dataset.prompts[values.split][: values.limit or None]
    if not prompts:
        raise UserError(
            f'{run.dataset.name} has no prompts in its {values.split} split'
        )
    sampling = Sampling(
        run.config.lengths.response, run.tokenizer.eos, values.temperature
    )
    role = run.source('base') if values.adapter == 'base' else run.role(values.adapter)
    made = sample_pairs(run, role, prompts, sampling, file, values.seed)
    found = [
        pair
        for pair in made
        if all(text.strip() for text in pair.completions)
        and len(set(pair.completions)) == 2
    ]
    if not found:
        raise UserError(
            f'--sample: {values.adapter} said the same twice or nothing to each of '
            f'{len(made)} prompts; sample at a higher --temperature'
        )
    print(f'sampled {len(made)} pairs, {len(made) - len(found)} of no use', flush=True)
    return found


def table(figures: dict[str, Any]) -> str:
    """The summary for a person."""
    shown = [f'{figures["labelled"]} of {figures["n"]} labelled']
    for name in ('agreement', 'gold_agreement'):
        if figures.get(name) is not None:
            low, high = figures[f'{name}_ci95']
            shown.append(f'{name} {figures[name]:.3f} [{low:.3f}, {high:.3f}]')
    shown.append(f'position bias {figures["position_bias"]:.3f}')
    names = ('ties', 'requests', 'retries', 'cached', 'unparsable', 'refused')
    for name in (*names, 'prompts_cut', 'too_long'):
        if figures.get(name):
            shown.append(f'{name.replace("_", " ")} {figures[name]}')
    if 'refusal' in figures:
        shown.append(f'refused for {figures["refusal"]}')
    return ', '.join(shown)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    config = values.config
    output = _apart(pathlib.Path(values.output), values.comparisons, values.file)
    run = open_finished(values.workdir) if values.workdir else None
    judging = run
    if values.labeller_workdir:
        judging = open_finished(values.labeller_workdir)
    # first of all, so that a mistake is said before anything costs time
    with _on(judging):
        labeller = open_labeller(_settings(values, output), judging)
    with _on(run):
        found, gold = _pairs(values, config, run, output)
    with _on(judging):
        figures = save(output, found[: values.limit or None], labeller, gold)
    print(table(figures))
    if not figures['labelled']:
        raise UserError(
            f'{values.labeller}: gave no verdict on any pair; where they were too long '
            'take a shorter --template or another model, where the answers were none '
            'look at them in the file of answers'
        )


def _apart(output, *given):
    """The output, which must not be a file that is read."""
    if output.resolve() in [pathlib.Path(file).resolve() for file in given if file]:
        raise UserError(f'--output: {output} is read from here; name another file')
    return output


def _pairs(values, config, run, output):
    """The pairs that the flags ask for, and the exact reward where there is one."""
    if bool(values.comparisons) + bool(config) + values.sample > 1:
        raise UserError('give one of --comparisons, --config and --sample')
    if values.comparisons:
        return from_file(values.comparisons, _columns(values.columns)), None
    if run is None and (values.sample or not config):
        raise UserError('give --comparisons, --config, or --workdir with a run folder')
    dataset = open_data(config) if config else run.dataset
    if values.sample:
        found = sampled(run, values, beside(output, 'pairs.jsonl'))
    else:
        found = from_dataset(dataset, values.split)
    return found, dataset.gold


def _on(run):
    return jax.set_mesh(run.mesh) if run else contextlib.nullcontext()


def _settings(values, output):
    server, questions = (
        {name: values[name].value for name in names}
        for names in (
            ('key_env', 'timeout', 'retries'),
            ('max_tokens', 'logprobs', 'concurrency'),
        )
    )
    return Settings(
        kind=values.labeller,
        template=values.template,
        answers=beside(output, 'answers.jsonl'),
        file=values.file,
        url=values.url,
        model=values.model,
        server=server,
        questions={**questions, 'extra': _extra(values.extra)},
        flip=values.flip,
        seed=values.seed,
    )


def _extra(text):
    try:
        found = json.loads(text or '{}')
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f'--extra: {text!r} is no JSON object')
    return found


def _columns(given):
    parts = [part.partition('=') for part in given]
    for field, equals, column in parts:
        if not (field and equals and column):
            raise UserError(f'--columns: write field=column, not {field + equals!r}')
    return {field: column for field, _, column in parts}


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    config_flags.DEFINE_config_file('config', lock_config=True)
    flags.DEFINE_string('output', None, 'where the labels go, a .jsonl file')
    flags.DEFINE_enum('labeller', None, KINDS, 'who labels')
    flags.DEFINE_string('comparisons', '', 'a file of pairs: JSONL, CSV, Parquet')
    flags.DEFINE_list('columns', [], 'of that file, such as prompt=question')
    flags.DEFINE_string('workdir', '', 'a run folder: its pairs, policy and model')
    flags.DEFINE_enum('split', 'train', SPLITS, 'of the data')
    flags.DEFINE_integer('limit', 0, 'the first so many pairs or prompts; 0 all', 0)
    flags.DEFINE_bool('sample', False, 'pairs are two responses of the policy')
    flags.DEFINE_string('adapter', 'sft', 'the policy: a stage, a folder, or base')
    flags.DEFINE_float('temperature', 1.0, 'of the samples', 0)
    flags.DEFINE_integer('seed', 0, 'of the samples and of the annotators', 0)
    flags.DEFINE_string('template', 'generic', 'of the question: a name or a file')
    flags.DEFINE_string('file', '', 'recorded: the file of answers')
    flags.DEFINE_float('flip', 0.25, 'annotators: how often one errs', 0, 0.5)
    flags.DEFINE_string('labeller_workdir', '', 'model: the run it is in, if another')
    flags.DEFINE_string(
        'model', '', 'endpoint: its name there; model: a stage, a folder, or base'
    )
    flags.DEFINE_string('url', '', 'endpoint: base address, http://host:8000/v1')
    flags.DEFINE_string('key_env', '', 'endpoint: the variable that holds the key')
    flags.DEFINE_float('timeout', 60, 'endpoint: seconds to wait for an answer', 1e-3)
    flags.DEFINE_integer('retries', 5, 'endpoint: of a question that fails', 0)
    flags.DEFINE_integer('concurrency', 8, 'endpoint: questions at once', 1)
    flags.DEFINE_integer('max_tokens', 16, 'endpoint: of an answer', 1)
    flags.DEFINE_bool('logprobs', True, 'endpoint: ask for them, for soft labels')
    flags.DEFINE_string('extra', '', 'endpoint: more fields of a request, as JSON')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('output', 'labeller'))
