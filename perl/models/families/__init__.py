"""Families of decoders: one entry each, also as checkpoints of other projects."""

from perl.models.families.family import Family
from perl.models.families.loading import load
from perl.models.families.table import (
    FAMILIES,
    family_named,
    from_foreign,
    is_classifier,
    to_config,
)
from perl.models.families.tensors import SCORE
from perl.models.families.tensors import checked as check
from perl.models.families.writing import to_foreign

__all__ = [
    'FAMILIES',
    'SCORE',
    'Family',
    'check',
    'family_named',
    'from_foreign',
    'is_classifier',
    'load',
    'to_config',
    'to_foreign',
]
