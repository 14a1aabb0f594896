"""Checkpoints of a stage; checksums cover all files and arrays."""

from perl.checkpoint.checkpoints import Checkpoints

__all__ = ['Checkpoints']
