"""The kinds of stages, one entry each.

An entry says what a stage of that kind is before it runs; `perl.stages.table.STAGES`
says how it runs. How stages follow from each other is in `lineage.py`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from perl.config import fields
from perl.config.sections.combined import average_config, ensemble_config
from perl.config.sections.policy import policy_config
from perl.config.sections.stage import dpo_config, stage_config
from perl.config.sections.tuning import tuning_config
from perl.data.records import SPLITS
from perl.judges.mixture import GATED

# what a stage leaves behind, and how an error calls it
PRODUCTS = {
    'base': 'base',
    'sft': 'policy',
    'policy': 'policy',
    'reward': 'reward model',
}

Reads = tuple[str, tuple[str, ...]]


def _reads(records: str, *splits: str) -> Callable[[Any], Reads]:
    return lambda stage: (records, splits)


def _reward_reads(stage: Any) -> Reads:
    ratings = stage.loss == 'pointwise'
    return ('ratings' if ratings else 'comparisons'), SPLITS


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a kind of stage is.

    Attributes:
        section: a stage's config with its defaults; a stage has just these fields.
        check: raises a `UserError` for the first of its fields that is wrong, given the
            stage's name and section.
        makes: a name in `PRODUCTS`; '' is that of the stages it is made of.
        reads: the kind of records that a stage reads, and in which splits; None reads
            those of the stages it is made of.
        made_of: the kinds of the earlier stages that it is made of.
        recipe: how a stage is made of others, for a person.
        trains: whether a stage takes optimizer steps.
        goes_on_from: the kinds of the earlier stages that `start` may name; the base,
            SFT and the folder of an adapter are starts of every kind.
        trained_by_reward: whether `reward` trains a stage; elsewhere it only scores
            what the stage has made, and may be empty.
        imitates: whether a stage learns the tokens of the responses that it reads.
    """

    section: Callable[[], ConfigDict]
    check: Callable[[str, ConfigDict], None]
    makes: str = ''
    reads: Callable[[Any], Reads] | None = None
    made_of: tuple[str, ...] = ()
    recipe: Callable[[Any], str] = lambda stage: ''
    trains: Callable[[Any], bool] = lambda stage: True
    goes_on_from: tuple[str, ...] = ()
    trained_by_reward: bool = False
    imitates: bool = False


KINDS: dict[str, Kind] = {
    'pretrain': Kind(
        section=lambda: stage_config('pretrain', 1.0, tuning=tuning_config('full')),
        check=fields.check_pretrain,
        makes='base',
        reads=_reads('text', 'train', 'val'),
    ),
    'sft': Kind(
        section=lambda: stage_config('sft', 1.0),
        check=fields.check_start,
        makes='sft',
        reads=_reads('demonstrations', 'train', 'val'),
        imitates=True,
    ),
    'reward': Kind(
        section=lambda: stage_config('reward', 1.0),
        check=fields.check_reward,
        makes='reward',
        reads=_reward_reads,
        goes_on_from=('reward',),
    ),
    'average': Kind(
        section=lambda: average_config(()),
        check=fields.check_average,
        made_of=('reward', 'average', 'policy', 'dpo'),
        recipe=lambda stage: f'{stage.method} of {", ".join(stage.of)}',
        trains=lambda stage: False,
    ),
    'ensemble': Kind(
        section=lambda: ensemble_config(()),
        check=fields.check_ensemble,
        made_of=('reward', 'average'),
        recipe=lambda stage: f'{stage.combine} of {", ".join(stage.of)}',
        trains=lambda stage: stage.combine in GATED,
    ),
    'policy': Kind(
        section=lambda: policy_config(1.0),
        check=fields.check_policy,
        makes='policy',
        reads=_reads('prompts', 'train', 'test'),
        trained_by_reward=True,
    ),
    'dpo': Kind(
        section=lambda: dpo_config(1.0),
        check=fields.check_dpo,
        makes='policy',
        reads=_reads('comparisons', 'train', 'val'),
    ),
}


def of(stage: Mapping[str, Any]) -> Kind:
    """The entry of a stage's section."""
    return KINDS[stage['kind']]
