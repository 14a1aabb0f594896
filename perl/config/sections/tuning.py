"""The section `tuning` of a stage: what is trained."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import tunings
from perl.adapters.targets import ATTENTION
from perl.adapters.tunings import Tuning


def tuning_config(name: str = 'lora', rank: int = 8, **changes: Any) -> ConfigDict:
    """What is trained.

    Args:
        name: full, lora, or `module:class` of your own.
        rank: of LoRA; `full` ignores the LoRA fields.
        **changes: other fields.
    """
    if ':' in name:
        fields = dataclasses.fields(tunings.kind_named(name))
        defaults = {f.name: f.default for f in fields}
        return ConfigDict({**defaults, **changes, 'name': name})
    return ConfigDict(
        {
            'name': name,  # full | lora | module:class; full reads no other field
            'rank': rank,  # rank of the LoRA factors
            'alpha': float(
                rank
            ),  # the product of the factors is scaled by alpha / rank
            'rank_stabilised': False,  # scales by alpha / sqrt(rank) instead (rsLoRA)
            # rate on the input of an adapter while training; 0 in policy and dpo stages
            'dropout': 0.0,
            # which kernels get adapters: regular expressions of paths, the first that
            # matches counts; `pattern:rank` gives another rank, and rank 0 none
            'targets': ATTENTION,
            **changes,
        }
    )


def tuning(config: ConfigDict) -> Tuning:
    """The tuning of a stage's section `tuning`."""
    return tunings.create(config)


def coverage(config: ConfigDict, leaves: Any) -> str:
    """One line: which matrices a stage trains and what share that is."""
    return tuning(config).coverage(leaves)
