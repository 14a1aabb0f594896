"""The section `tuning` of a stage: what is trained."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import tunings
from perl.adapters.tunings import Tuning
from perl.system.errors import UserError


def tuning_config(name: str = 'lora', rank: int = 8, **changes: Any) -> ConfigDict:
    """What is trained.

    Args:
        name: in `perl.adapters.tunings.TUNINGS`, or `module:class` of your own.
        rank: of LoRA and its relatives; a tuning ignores the fields of others.
        **changes: other fields.
    """
    if ':' in name:
        fields = dataclasses.fields(tunings.kind_named(name))
        defaults = {f.name: f.default for f in fields}
        return ConfigDict({**defaults, **changes, 'name': name})
    return ConfigDict(
        {
            # full | lora | dora | pissa | qlora | qalora | bitfit | houlsby |
            # pfeiffer | prefix | top_layers | module:class; see docs/tunings.md
            'name': name,
            'rank': rank,  # rank of the LoRA factors
            'alpha': float(
                rank
            ),  # the product of the factors is scaled by alpha / rank
            'rank_stabilised': False,  # scales by alpha / sqrt(rank) instead (rsLoRA)
            # rate on the input of an adapter while training; 0 in policy and dpo stages
            'dropout': 0.0,
            # which kernels get adapters: attention, all-linear, or regular expressions
            # of paths; the first that matches counts; `pattern:rank` gives another
            # rank, and rank 0 none; () is what the tuning has by itself
            'targets': (),
            # weights that LoRA and its relatives train in full beside their factors, by
            # regular expressions of paths, such as embed, unembed or .*_bias
            'modules_to_save': (),
            'b_rate': 1.0,  # multiplies the learning rate of B; LoRA+ has 16
            'width': 16,  # of the inner layer of houlsby and pfeiffer
            'slots': 16,  # keys and values that prefix adds to a layer
            'layers': 2,  # the last ones, that top_layers trains
            **changes,
        }
    )


@contextlib.contextmanager
def of_stage(name: str) -> Iterator[None]:
    """Puts a stage's name before the setting of its tuning that a `UserError` of the
    block names: `tuning.rank: …` becomes `sft.tuning.rank: …`."""
    try:
        yield
    except UserError as error:
        if name and str(error).startswith('tuning'):
            raise UserError(f'{name}.{error}') from None
        raise


def tuning(config: ConfigDict, stage: str = '') -> Tuning:
    """The tuning of a section `tuning`; errors name the stage, if it is given."""
    with of_stage(stage):
        return tunings.create(config)


def coverage(config: ConfigDict, leaves: Any) -> str:
    """One line: which matrices a stage trains and what share that is."""
    return tuning(config).coverage(leaves)
