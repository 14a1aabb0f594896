"""What the configs of the paper's datasets have in common: arguments, bases, scales.

A config says which data and which numbers; here is how they become stages.
"""

from perl.config.recipes.begin import arguments, experiment, use_base, window
from perl.config.recipes.laptop_scale import laptop
from perl.config.recipes.paper_scale import adafactor, paper

__all__ = [
    'adafactor',
    'arguments',
    'experiment',
    'laptop',
    'paper',
    'use_base',
    'window',
]
