"""TF-IDF features of texts: words and pairs of neighbouring words."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse

_WORD = re.compile(r'\w+|[^\w\s]')

# The parts of a text, each with a mark that distinguishes its words from other parts.
Parts = Sequence[tuple[str, str]]


class BagOfWords:
    """Features for the words and word pairs that occur in at least two of n texts.

    The feature of a word or pair is 1 + log(count), times log((1 + n) / (1 + texts with
    it)) + 1; a text's features are scaled to length 1. They are those of scikit-learn's
    `TfidfVectorizer` with sublinear_tf and min_df=2.
    """

    def __init__(self, texts: Iterable[Parts]):
        """Counts the words of n texts."""
        self._words: dict[str, int] = {}
        counts = [self._count(text, learn=True) for text in texts]
        self._pairs = np.unique(
            np.concatenate([np.zeros(0, int), *(pairs for _, pairs in counts)])
        )
        table = self._table(counts)
        texts_with = np.bincount(table.indices, minlength=table.shape[1])
        self._columns = np.flatnonzero(texts_with >= 2)
        rarity = np.log((1 + len(counts)) / (1 + texts_with)) + 1
        self._rarity = rarity[self._columns]

    def __call__(self, texts: Iterable[Parts]) -> scipy.sparse.csr_array:
        """The features of m texts: `[m, words and pairs]`, float64."""
        table = self._table([self._count(text) for text in texts])
        table = table[:, self._columns]
        table.data = (1 + np.log(table.data)) * self._rarity[table.indices]
        lengths = np.sqrt(table.power(2).sum(1))
        scale = 1 / np.where(lengths > 0, lengths, 1)
        table.data *= np.repeat(scale, np.diff(table.indptr))
        return table

    def _count(self, text, learn=False):
        """The ids of a text's words, and of its word pairs."""
        words, pairs = [np.zeros(0, int)], [np.zeros(0, int)]
        for mark, part in text:
            names = [mark + word for word in _WORD.findall(part.lower())]
            if learn:
                for name in names:
                    self._words.setdefault(name, len(self._words))
            at = np.array([self._words.get(name, -1) for name in names], int)
            both = (at[:-1] >= 0) & (at[1:] >= 0)
            words.append(at[at >= 0])
            pairs.append((at[:-1] << 32 | at[1:])[both])
        return np.concatenate(words), np.concatenate(pairs)

    def _table(self, counts):
        """The count of each word and pair in each text."""
        columns, ends = [np.zeros(0, int)], [0]
        for words, pairs in counts:
            at = np.searchsorted(self._pairs, pairs)
            at = np.minimum(at, max(0, len(self._pairs) - 1))
            known = self._pairs[at] == pairs if len(self._pairs) else at < 0
            columns += [words, len(self._words) + at[known]]
            ends.append(ends[-1] + len(words) + int(known.sum()))
        columns = np.concatenate(columns)
        shape = len(counts), len(self._words) + len(self._pairs)
        table = scipy.sparse.csr_array((np.ones(len(columns)), columns, ends), shape)
        table.sum_duplicates()
        return table
