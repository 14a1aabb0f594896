"""Data: records, tokenizers, readers, batches."""

from perl.data import tokenizers
from perl.data.batching import (
    bucket,
    collate,
    left,
)
from perl.data.examples import Examples, encode
from perl.data.ordering import order
from perl.data.packing import pack
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    pairs,
)
from perl.data.sets.table import load
from perl.data.splits import split_of

__all__ = [
    'SPLITS',
    'Comparison',
    'Dataset',
    'Demonstration',
    'Examples',
    'Rating',
    'bucket',
    'collate',
    'encode',
    'left',
    'load',
    'order',
    'pack',
    'pairs',
    'split_of',
    'tokenizers',
]
