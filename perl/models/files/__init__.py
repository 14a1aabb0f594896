"""Checkpoints of other projects, read and written as Hugging Face has them."""

from perl.models.files.checkpoint import Checkpoint, Tensor
from perl.models.files.folder import refuse_pickle
from perl.models.files.opening import (
    beside,
    is_foreign,
    located,
    open_checkpoint,
    refuse_run,
    stops,
)
from perl.models.files.writing import write_checkpoint

__all__ = [
    'Checkpoint',
    'Tensor',
    'beside',
    'is_foreign',
    'located',
    'open_checkpoint',
    'refuse_pickle',
    'refuse_run',
    'stops',
    'write_checkpoint',
]
