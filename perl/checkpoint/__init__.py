"""Checkpoints of a stage, with a checksum for everything."""

from perl.checkpoint.checkpoints import Checkpoints

__all__ = ['Checkpoints']
