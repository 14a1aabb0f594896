import numpy as np

from perl.evaluation.figures import pairs


def test_pairs_by_hand():
    got = pairs.of_scores([[3.0, 1.0, 2.0], [5.0, 1.0, 0.0]], [0.8, 0.5])
    np.testing.assert_array_equal(got.margins, [2, 1, -1, 4, 5, 1])
    assert got.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert got.outcomes.tolist() == [0.8] * 3 + [0.5] * 3
    assert got.tied.tolist() == [False, True] and got.n == 2
    np.testing.assert_allclose(got.right(), [2 / 3, 1 / 2])


def test_rankings_of_different_lengths():
    scores = [np.array([1.0, 0.0]), np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0])]
    got = pairs.of_scores(scores)
    np.testing.assert_array_equal(got.margins, [1, -1, -2, -1, 0])
    assert got.rows.tolist() == [0, 1, 1, 1, 2]
    np.testing.assert_allclose(got.right(), [1, 0, 0.5])


def test_places_of_pairs():
    better, worse, rows = pairs.places([2, 3])
    assert better.tolist() == [0, 2, 2, 3] and worse.tolist() == [1, 3, 4, 4]
    assert rows.tolist() == [0, 1, 1, 1]
    assert [len(x) for x in pairs.places([])] == [0, 0, 0]
