"""Attention of the decoder: over whole rows, and over a cache of keys and values.

`plain` is our own, for every platform; `cudnn` and `splash` hand blocks of queries to
fused kernels, which never hold the scores of a row; `table` says which of them a
program gets.
"""

from perl.models.attention.causal import causal
from perl.models.attention.plain import cached
from perl.models.attention.visible import at

__all__ = ['at', 'cached', 'causal']
