"""Which limits an arithmetic has."""

import tiny

from perl.stages.policy.limits import LIMITS, limits


def test_limits_are_of_the_arithmetic():
    assert limits(tiny.ARCH) == LIMITS['float32']
    assert limits(tiny.arch(dtype='bfloat16')) == LIMITS['bfloat16']
    assert limits(tiny.arch(precision='default')) == LIMITS['bfloat16']
