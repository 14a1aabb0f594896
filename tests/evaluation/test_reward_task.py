"""Rewards of examples with different numbers of completions."""

import numpy as np
from reward_tasks import RANKINGS, ROLE, a_task, encoded


def test_scores_of_rankings_of_different_lengths():
    data = encoded(RANKINGS)
    scores = a_task().scores(ROLE, data)
    assert scores.shape == (3, 4) and scores.dtype == np.float32
    for record, row in zip(RANKINGS, scores, strict=True):
        alone = encoded([record])
        want = a_task().scores(ROLE, alone)[0]
        np.testing.assert_allclose(row[: len(want)], want, atol=1e-5)
        assert np.isnan(row[len(want) :]).all() and np.isfinite(want).all()
    shared = a_task(share_prompts='always').scores(ROLE, data)
    np.testing.assert_allclose(shared, scores, atol=1e-5)
