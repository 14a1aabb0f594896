import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from perl.evaluation.figures.bag_of_words import BagOfWords

TEXTS = [
    'A cat, a cat and a dog!',
    'The dog sat on the cat.',
    'the cat sat; the cat ran',
    'entirely new words',
    'Häuser, häuser 猫',
    'Häuser 猫',
]


def as_parts(texts):
    return [[('>', text)] for text in texts]


def test_features_are_scikit_learns():
    """Up to the order of the columns."""
    reader = TfidfVectorizer(
        token_pattern=r'\w+|[^\w\s]', ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
    want = reader.fit_transform(TEXTS)
    bag = BagOfWords(as_parts(TEXTS))
    got = bag(as_parts(TEXTS))
    assert got.shape == want.shape
    np.testing.assert_allclose((got @ got.T).toarray(), (want @ want.T).toarray())
    fresh = ['a dog sat', 'words', '']
    np.testing.assert_allclose(
        (bag(as_parts(fresh)) @ got.T).toarray(),
        (reader.transform(fresh) @ want.T).toarray(),
    )


def test_parts_are_told_apart():
    bag = BagOfWords([[('<', 'a'), ('>', 'b')]] * 2)
    one, other = bag([[('<', 'a'), ('>', 'b')], [('<', 'b'), ('>', 'a')]]).toarray()
    assert np.count_nonzero(one) == 2 and not other.any()


def test_texts_without_a_common_word():
    assert BagOfWords(as_parts(['a', 'b']))(as_parts(['a'])).shape == (1, 0)
    assert BagOfWords([])(as_parts(['a'])).shape == (1, 0)
