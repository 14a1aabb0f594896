"""Experiments as configs: what a config file builds, and the rules for it."""

from perl.config.experiment import (
    architecture,
    average_config,
    coverage,
    dpo_config,
    ensemble_config,
    experiment,
    known_stages,
    optimizer_config,
    parse_arg,
    policy_config,
    stage_config,
    to_json,
    tuning,
    tuning_config,
)
from perl.config.loading import from_json, load_config

__all__ = [
    'architecture',
    'average_config',
    'coverage',
    'dpo_config',
    'ensemble_config',
    'experiment',
    'from_json',
    'known_stages',
    'load_config',
    'optimizer_config',
    'parse_arg',
    'policy_config',
    'stage_config',
    'to_json',
    'tuning',
    'tuning_config',
]
