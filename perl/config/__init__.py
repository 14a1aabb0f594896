"""Experiments as configs: what a config file builds, and the rules for it."""

from perl.config.arguments import parse_arg
from perl.config.experiment import (
    architecture,
    experiment,
    known_stages,
    quantization,
    to_json,
)
from perl.config.loading import from_json, load_config
from perl.config.sections.combined import average_config, ensemble_config
from perl.config.sections.optimizer import optimizer_config
from perl.config.sections.policy import policy_config
from perl.config.sections.stage import dpo_config, stage_config
from perl.config.sections.tuning import (
    coverage,
    of_stage,
    tuning,
    tuning_config,
)

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
    'of_stage',
    'optimizer_config',
    'parse_arg',
    'policy_config',
    'quantization',
    'stage_config',
    'to_json',
    'tuning',
    'tuning_config',
]
