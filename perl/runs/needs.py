"""Whether the stages of a config find their records in a dataset."""

from ml_collections import ConfigDict

from perl.config import lineage
from perl.data.records import Dataset
from perl.system.errors import UserError


def check(config: ConfigDict, dataset: Dataset) -> None:
    """Raises a `UserError` for the first stage that lacks records.

    It says what is missing, and how to run the stages that lack nothing.
    """
    empty = {stage: _empty_split(config, stage, dataset) for stage in config.stages}
    for stage, split in empty.items():
        if split:
            kind, splits = lineage.reads(config, stage)
            raise UserError(
                f'{stage}: {dataset.name} has no {kind} in its {split} split'
                f'{_where(dataset, kind)}; give {kind} in {", ".join(splits)}'
                f'{_finer(dataset, kind)}{_others(config, empty)}'
            )
        if (
            config[stage].get('centre') == 'demonstrations'
            and not dataset.demonstrations['val']
        ):
            raise UserError(
                f'{stage}.centre: {dataset.name} has no demonstrations in its val '
                'split, which centre needs; set centre to responses'
            )


def _where(dataset: Dataset, kind: str) -> str:
    """In which splits the records of a kind are, and why some are missing."""
    sizes = {split: len(rows) for split, rows in dataset.of_kind(kind).items()}
    where = []
    if any(sizes.values()):
        where.append(', '.join(f'{split} {n}' for split, n in sizes.items()))
    if dropped := dataset.counts.get('leaks_dropped', 0):
        where.append(f'{dropped} leaks between splits were dropped')
    return f' ({"; ".join(where)})' if where else ''


def _finer(dataset: Dataset, kind: str) -> str:
    """How records that are in some splits alone come into the others."""
    if not any(dataset.of_kind(kind).values()):
        return ''
    return ': split by something with more values, or name the splits yourself'


def _empty_split(config: ConfigDict, stage: str, dataset: Dataset) -> str:
    """The first split in which a stage finds none of its records, or ''."""
    kind, splits = lineage.reads(config, stage)
    return next((split for split in splits if not dataset.of_kind(kind)[split]), '')


def _others(config: ConfigDict, empty: dict[str, str]) -> str:
    """The flags with which the stages run that have their records."""
    able = []
    for stage in empty:
        before = [*config[stage].get('of', ()), config[stage].get('reward', '')]
        if not empty[stage] and all(x in able for x in before if x in empty):
            able.append(stage)
    if not able:
        return ''
    flags = [f'--config.stages={",".join(able)}']
    if 'sft' not in able:
        for stage in able:
            for setting in ('start', 'value_start'):
                if config[stage].get(setting) == 'sft':
                    flags.append(f'--config.{stage}.{setting}=base')
    if 'pretrain' not in able and not config.model.path:
        flags.append('--config.model.path=BASE')
        if config.tokenizer.kind == 'sentencepiece':  # which is trained on text
            flags.append('--config.tokenizer.kind=file')
            flags.append('--config.tokenizer.path=BASE/tokenizer')
    return f'; or run the others alone: {" ".join(flags)}'
