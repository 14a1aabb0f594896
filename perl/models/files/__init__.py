"""Checkpoints of other projects, read and written as Hugging Face has them."""

from perl.models.files.checkpoint import Checkpoint, Tensor

__all__ = ['Checkpoint', 'Tensor']
