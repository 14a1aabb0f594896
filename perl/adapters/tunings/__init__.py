"""Tunings: one entry each in `TUNINGS`."""

from perl.adapters.tunings.base import Tuning
from perl.adapters.tunings.full import Full
from perl.adapters.tunings.lora import LoraTuning
from perl.adapters.tunings.table import TUNINGS, create, kind_named

__all__ = ['TUNINGS', 'Full', 'LoraTuning', 'Tuning', 'create', 'kind_named']
