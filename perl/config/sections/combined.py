"""The section of a stage that is made of earlier ones: average or ensemble."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from perl.config.sections.optimizer import optimizer_config


def average_config(of: Sequence[str], **changes: Any) -> ConfigDict:
    """The weights of earlier stages averaged (WARM, arXiv 2401.12187; WARP, arXiv
    2406.16768); reward models must start from one that has their common head."""
    return ConfigDict(
        {
            'kind': 'average',
            'of': tuple(of),  # the earlier stages that are averaged
            # mean | slerp, of two stages | interpolate_to_start, of one
            'method': 'mean',
            # slerp: share of the second stage; interpolate_to_start: share of the
            # stage against its start; mean does not read it
            'weight': 0.5,
            'rank': 0,  # rank of the average; 0 adds up the ranks and is exact
            **changes,
        }
    )


def ensemble_config(
    of: Sequence[str], learning_rate: float = 1e-3, **changes: Any
) -> ConfigDict:
    """Reward models that judge together; all but `combine` and `deviations` is about
    training the gates of a mixture (MoLE, arXiv 2404.13628)."""
    config = ConfigDict(
        {
            'kind': 'ensemble',
            'of': tuple(of),  # the earlier reward models
            'combine': 'mean',  # mean | min | mean_std | gate | mole
            'deviations': 1.0,  # mean_std: mean - deviations * standard deviation
            'balance': 0.5,  # weight of the load-balancing loss of gate and mole
            'optimizer': optimizer_config(learning_rate),
            'steps': 100,
            'batch_size': 32,
            'micro_batches': 1,
            'eval_every': 50,
            'save_every': 50,
        }
    )
    config.update(changes)
    return config
