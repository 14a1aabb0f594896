"""Simple baselines that a reward model should beat.

The accuracy of a reward model alone says little. If most labels are equal, if people
prefer the longer response, or if single words reveal the label, a model that has
learned only this looks good. Each baseline is fitted on the training split, takes its
settings from the validation split, and scores the same records as the model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from perl.data.records import Comparison, Rating
from perl.evaluation.figures import clusters, logistic, pairs, temperature
from perl.evaluation.figures.accuracy import best_threshold
from perl.evaluation.figures.agreement import comparison_metrics, rating_metrics
from perl.evaluation.figures.bag_of_words import BagOfWords

MOST = 20_000  # most training records of the bag of words, evenly spaced
CHARACTERS = 3000  # it reads the end of a prompt and the beginning of a response
STRENGTHS = (0.1, 1.0, 10.0)  # inverse regularisation, chosen on validation

Records = Sequence[Comparison] | Sequence[Rating]
# n records -> n arrays [K]: the scores of a comparison's completions, or one logit
Scorer = Callable[[Records], list[np.ndarray]]


def metrics(
    records: Mapping[str, Records], split: str
) -> dict[str, tuple[dict[str, Any], list[np.ndarray]]]:
    """The figures and scores of every baseline on a split, by name.

    Args:
        records: comparisons or ratings by split; baselines are fitted on 'train' and
            'val'.
        split: the split to measure on, n records.

    Returns:
        For ratings 'majority', 'length' and 'bag_of_words' with `rating_metrics`, for
        comparisons 'chance', 'length' and 'bag_of_words' with `comparison_metrics`;
        each with its rule in words. The scores are n arrays `[K]`. A baseline that
        cannot be fitted, because records or a second class are missing, is left out.
    """
    val, test = records['val'], records[split]
    at, measured = clusters.of_records(test), {}
    if not test:
        return {}
    for name, (score, rule) in fit(records['train'], val).items():
        scores = score(test)
        if isinstance(test[0], Comparison):
            figures = comparison_metrics(pairs.of_scores(scores, _labels(test)), at)
            if name == 'chance':  # known, not measured
                del figures['ci95']
        else:
            threshold = best_threshold(np.ravel(score(val)), _labels(val)) if val else 0
            figures = rating_metrics(np.ravel(scores), _labels(test), threshold, at)
        measured[name] = {'rule': rule, **figures}, scores
    return measured


def fit(train: Records, val: Records) -> dict[str, tuple[Scorer, str]]:
    """The baselines that the records allow, by name, each with its rule in words."""
    if not train:
        return {}
    if isinstance(train[0], Comparison):
        constant = {'chance': (_toss, 'a toss of a coin')}
    else:
        constant = {'majority': majority(train)}
        if len(set(_labels(train))) < 2:
            return constant
    return constant | {
        'length': length(train),
        'bag_of_words': bag_of_words(train, val),
    }


def majority(train: Sequence[Rating]) -> tuple[Scorer, str]:
    """A constant: the log-odds of a good rating in `train`."""
    # One extra rating per class keeps the odds finite if a class is missing.
    good = _labels(train) == 1
    log_odds = np.log((good.sum() + 1) / ((~good).sum() + 1))
    rule = f'always {"good" if log_odds > 0 else "bad"}'
    return lambda records: [np.array([log_odds])] * len(records), rule


def length(train: Records) -> tuple[Scorer, str]:
    """For comparisons: the longer response wins, or the shorter one if that is more
    often right. For ratings: logistic regression on the log characters of prompt and
    response."""
    sizes = _sizes(train)
    centre, spread = sizes.mean(0), sizes.std(0)
    scale = np.where(spread > 0, spread, 1)
    if isinstance(train[0], Comparison):
        ahead, preferences = _design(train, sizes)
        right = np.sign(ahead.toarray()[:, 0]) * np.sign(2 * preferences - 1)
        model = np.array([1.0 if right.sum() >= 0 else -1.0]), 0.0
    else:
        model = _fitted(train, (sizes - centre) / scale, 1.0)

    def score(records):
        return _scores(records, (_sizes(records) - centre) / scale, model)

    longer = 'longer' if model[0][-1] > 0 else 'shorter'
    return score, f'the {longer} response is better'


def bag_of_words(
    train: Records, val: Records, strengths: Sequence[float] = STRENGTHS
) -> tuple[Scorer, str]:
    """Logistic regression on words and word pairs (TF-IDF).

    Args:
        train: records to fit on; at most `MOST` are used, evenly spaced.
        val: records to choose the strength, by log loss; if empty, the middle one is
            used.
        strengths: inverse regularisation, scikit-learn's C.
    """
    train, val = _some(train), _some(val)
    bag = BagOfWords(_texts(train))
    features = bag(_texts(train))
    models = [_fitted(train, features, strength) for strength in strengths]
    best = models[len(models) // 2]
    if val:
        x, y = _design(val, bag(_texts(val)))
        best = min(models, key=lambda m: temperature.log_loss(x @ m[0] + m[1], y))

    def score(records):
        return _scores(records, bag(_texts(records)), best)

    return score, 'words and pairs of words'


def _toss(comparisons):
    return [np.zeros(len(x.completions)) for x in comparisons]


def _fitted(records, features, strength):
    x, y = _design(records, features)
    return logistic.fit(x, y, strength, intercept=isinstance(records[0], Rating))


def _design(records, features):
    """Inputs and targets of the regression: features of ratings, or differences of the
    features of pairs."""
    features = scipy.sparse.csr_array(features)
    if isinstance(records[0], Rating):
        return features, _labels(records)
    better, worse, rows = pairs.places([len(x.completions) for x in records])
    return features[better] - features[worse], _labels(records)[rows]


def _scores(records, features, model):
    weights, intercept = model
    flat = features @ weights + intercept
    ends = np.cumsum([len(_responses(record)) for record in records])
    return np.split(flat, ends[:-1])


def _responses(record):
    if isinstance(record, Rating):
        return (record.response,)
    return record.completions


def _sizes(records):
    """Log characters of responses, for ratings also of prompts: `[m, 1 or 2]`."""
    if isinstance(records[0], Rating):
        sizes = [(len(x.prompt), len(x.response)) for x in records]
    else:
        sizes = [(len(text),) for x in records for text in x.completions]
    return np.log1p(np.array(sizes, float))


def _texts(records):
    """The marked parts of each response; for ratings the prompt is the first part."""
    for record in records:
        prompt = isinstance(record, Rating)
        before = [('<', record.prompt[-CHARACTERS:])] if prompt else []
        for response in _responses(record):
            yield [*before, ('>', response[:CHARACTERS])]


def _labels(records):
    """Labels 0 or 1 for ratings, preferences for comparisons: `[n]`."""
    if records and isinstance(records[0], Rating):
        return np.array([float(rating.label >= 0.5) for rating in records])
    return np.array([comparison.preference for comparison in records], float)


def _some(records):
    return records[:: -(-len(records) // MOST) or 1]
