"""How far two computations of the same numbers may be apart, by their arithmetic."""

import dataclasses

from perl.models.architecture import Architecture


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far two computations of the same log-probs may be apart, in nats.

    Neither of the first two grows with the number of tokens that are compared, as the
    largest difference does. Healthy runs in bfloat16 had means of 0.01 to 0.04 and 99th
    percentiles of 0.1 to 0.4; a wrong temperature, a visible pad or a lost token of the
    prompt had means from 0.19.

    Attributes:
        mean: of the absolute difference of log-probs.
        high: of its 99th percentile.
        reward: of the difference of a reward, in units of it.
    """

    mean: float
    high: float
    reward: float


LIMITS = {
    'float32': Limits(mean=5e-4, high=2e-3, reward=2e-3),
    'bfloat16': Limits(mean=0.1, high=0.5, reward=0.25),
    'float16': Limits(mean=0.02, high=0.1, reward=0.1),
}


def limits(arch: Architecture) -> Limits:
    """The limits for the arithmetic of a decoder.

    float32 products may have their operands rounded to bfloat16 (`precision`).
    """
    rounded = arch.dtype == 'float32' and not arch.exact
    return LIMITS['bfloat16' if rounded else arch.dtype]
