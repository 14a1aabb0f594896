"""An update moves the policy, or the cause is named."""

import jax.numpy as jnp
import numpy as np
import pytest

from perl.stages.policy.movement import moved
from perl.system.errors import UserError

MASK = jnp.array([[True, True, False], [True, False, False]])
LOG_PROBS = jnp.array([[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])


def test_an_update_must_move_the_policy():
    assert moved(LOG_PROBS, LOG_PROBS - 0.25, MASK, 1.0) == 0.25
    for after in (LOG_PROBS, LOG_PROBS.at[0, 2].set(9.0)):
        with pytest.raises(UserError, match=r'left every log-prob.*learning rate of 0'):
            moved(LOG_PROBS, after, MASK, 1.0)
    with pytest.raises(UserError, match='not a number'):
        moved(LOG_PROBS, LOG_PROBS * jnp.nan, MASK, 1.0)
    assert moved(LOG_PROBS, LOG_PROBS, MASK, 1.0, last=False) == 0


@pytest.mark.parametrize(
    'gradient, cause',
    [
        (0.0, 'rewards that are all equal'),
        (1e25, r'a gradient of norm 1e\+25.*lower kl_coefficient'),
        (np.inf, 'a gradient of norm inf'),
        (np.nan, 'a gradient of norm nan'),
        (0.3, 'a learning rate of 0 or so small'),
    ],
)
def test_why_nothing_moved(gradient, cause):
    with pytest.raises(UserError, match=cause):
        moved(LOG_PROBS, LOG_PROBS, MASK, gradient)
