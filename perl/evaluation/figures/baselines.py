"""What a reward model has to beat on ratings: scorers that understand nothing.

Each baseline is fitted on (train, val) and gives a function from ratings to logits,
which `accuracy.rating_metrics` measures like a reward model's.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from perl.data.records import Rating
from perl.evaluation.figures.accuracy import best_threshold, rating_metrics
from perl.system.errors import UserError

Scorer = Callable[[Sequence[Rating]], np.ndarray]


def majority(train: Sequence[Rating], val: Sequence[Rating] = ()) -> Scorer:
    """Always the answer that is the more frequent in `train`, by its log-odds."""
    # One more of each class keeps the odds of a one-sided split finite.
    good = _labels(train)
    log_odds = np.log((good.sum() + 1) / ((~good).sum() + 1))
    return lambda ratings: np.full(len(ratings), log_odds)


def length(train: Sequence[Rating], val: Sequence[Rating] = ()) -> Scorer:
    """Logistic regression on how long prompt and response are (log characters)."""
    sklearn = _sklearn()

    def features(ratings):
        sizes = [(len(rating.prompt), len(rating.response)) for rating in ratings]
        return np.log1p(np.array(sizes, float).reshape(-1, 2))

    model = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(),
        sklearn.linear_model.LogisticRegression(),
    ).fit(features(train), _two_classes(train))
    return lambda ratings: model.decision_function(features(ratings))


def bag_of_words(
    train: Sequence[Rating],
    val: Sequence[Rating],
    tail: int = 3000,
    strengths: Sequence[float] = (0.1, 1.0, 10.0),
) -> Scorer:
    """Logistic regression on the words and word pairs (TF-IDF) of a rating.

    Args:
        train: to fit on.
        val: to choose the strength on, by log loss.
        tail: how many characters of the prompt's end are read, about as many as a
            reward model reads. Its words and the response's are told apart.
        strengths: inverse regularisation, scikit-learn's C.
    """
    sklearn = _sklearn()

    def words(rating):
        found = []
        for mark, text in ('<', rating.prompt[-tail:]), ('>', rating.response):
            one = [mark + word for word in re.findall(r'\w+|[^\w\s]', text.lower())]
            found += one + list(map(' '.join, itertools.pairwise(one)))
        return found

    y = _two_classes(train)
    reader = sklearn.feature_extraction.text.TfidfVectorizer(
        analyzer=words, sublinear_tf=True
    )
    x = reader.fit_transform(train)
    x_val, good = reader.transform(val), _labels(val)

    def log_loss(model):
        scores = model.decision_function(x_val)
        return np.mean(np.logaddexp(0, np.where(good, -scores, scores)))

    models = [
        sklearn.linear_model.LogisticRegression(C=c, max_iter=1000).fit(x, y)
        for c in strengths
    ]
    best = min(models, key=log_loss)
    return lambda ratings: best.decision_function(reader.transform(ratings))


BASELINES = {'majority': majority, 'length': length, 'bag_of_words': bag_of_words}


def rating_baselines(
    ratings: Mapping[str, Sequence[Rating]], seed: int = 0
) -> dict[str, dict]:
    """The test figures of every baseline: {name: rating_metrics(...)}.

    Fitted on 'train'; strengths and thresholds are chosen on 'val'.

    Raises:
        UserError: a split is empty, the training labels are all of one class, or
            scikit-learn is not installed.
    """
    for split in ('train', 'val', 'test'):
        if not ratings[split]:
            raise UserError(f'baselines: no ratings in split {split!r}; use more data')
    train, val, test = ratings['train'], ratings['val'], ratings['test']
    figures = {}
    for name, fit in BASELINES.items():
        score = fit(train, val)
        threshold = best_threshold(score(val), _labels(val))
        figures[name] = rating_metrics(score(test), _labels(test), threshold, seed)
    return figures


def _labels(ratings):
    return np.array([rating.label >= 0.5 for rating in ratings], bool)


def _two_classes(ratings):
    labels = _labels(ratings)
    if len(set(labels)) < 2:
        raise UserError(
            f'baselines: the {len(labels)} training ratings are not of two classes; '
            'there is nothing to tell apart'
        )
    return labels


def _sklearn():
    try:
        import sklearn.feature_extraction.text
        import sklearn.linear_model
        import sklearn.pipeline
        import sklearn.preprocessing
    except ImportError as error:
        raise UserError(
            'baselines: scikit-learn is not installed; pip install scikit-learn'
        ) from error
    return sklearn
