"""Statistics of the records of each stage, before it trains on them."""

from typing import Any

from ml_collections import ConfigDict

from perl.config import kinds, lineage
from perl.data import SPLITS, shown, survey
from perl.data.records import Dataset
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import within


def by_stage(
    config: ConfigDict, dataset: Dataset, tokenizer: Tokenizer
) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of `perl.data.survey` of each stage's records, by stage and split.

    A stage that trains has in its training split also `epochs`, how often it will have
    seen each example.
    """
    figures, surveyed = {}, {}
    for name in config.stages:
        kind, _ = lineage.reads(config, name)
        figures[name] = {}
        for split in SPLITS:
            records = dataset.of_kind(kind)[split]
            if not records:
                continue
            if (kind, split) not in surveyed:
                with within(f'{kind}/{split}'):
                    surveyed[kind, split] = _survey(config, kind, records, tokenizer)
            figures[name][split] = dict(surveyed[kind, split])
        if kinds.of(config[name]).trains(config[name]):
            row = figures[name]['train']
            rows = row['rows'] if kind == 'text' else row['examples']
            row['epochs'] = _examples(config[name]) / rows
    return figures


def examples(
    config: ConfigDict, dataset: Dataset, tokenizer: Tokenizer
) -> dict[str, str]:
    """The first record that becomes an example, of each kind that a stage reads and of
    each split, as `perl.data.shown` writes it; by names such as `comparisons/train`."""
    limits = config.lengths.prompt, config.lengths.response
    found = {}
    for name in config.stages:
        kind, _ = lineage.reads(config, name)
        for split in SPLITS:
            records = dataset.of_kind(kind)[split]
            if not records or f'{kind}/{split}' in found:
                continue
            if kind == 'text':
                text = shown.document(records[0], tokenizer, sum(limits))
            else:
                text = shown.first(records, tokenizer, limits)
            found[f'{kind}/{split}'] = text
    return found


def imitated(section: ConfigDict, row: dict[str, Any]) -> int:
    """About how many tokens of its training split a stage learns to imitate: 0 where it
    learns from verdicts, each of which has about one bit.

    Args:
        section: the config of the stage.
        row: the figures of its training split.
    """
    imitates = kinds.of(section).imitates
    return row['examples'] * row['response_p50'] if imitates else 0


def _survey(config, kind, records, tokenizer):
    limits = config.lengths
    if kind == 'text':
        return survey.texts(records, tokenizer, limits.prompt + limits.response)
    return survey.records(records, tokenizer, limits.prompt, limits.response)


def _examples(stage):
    """How many examples a stage takes in all its steps."""
    return stage.steps * stage.batch_size / stage.get('samples', 1)
