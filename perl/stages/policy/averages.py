"""What the loss of a policy is a mean over, and the figures beside it."""

import dataclasses

import jax
import jax.numpy as jnp

from perl.losses.reduce import masked_sum

Sum = tuple[jax.Array, jax.Array]  # and what it is divided by, both scalars


@dataclasses.dataclass(frozen=True)
class Averages:
    """Sums over the tokens of B responses of R slots, with what divides them.

    Attributes:
        mask: `[B, R]` bool, which slots hold a token.
        average: as in `perl.losses.algorithms.Algorithm`.
    """

    mask: jax.Array
    average: str

    @property
    def count(self) -> jax.Array:
        """What the sum of the loss is divided by, a scalar."""
        if self.average == 'tokens':
            return jnp.sum(self.mask)
        return jnp.float32(self.mask.shape[0])

    def learned(self, x: jax.Array) -> Sum:
        """Of a term of the loss, `[B, R]`."""
        return masked_sum(x * self._share(), self.mask), self.count

    def told(self, x: jax.Array) -> Sum:
        """Of a figure, `[B, R]`: as of the loss, but over tokens where that is a mean
        over slots, which would shrink where responses are short."""
        if self.average == 'slots':
            return masked_sum(x, self.mask), jnp.sum(self.mask)
        return self.learned(x)

    def _share(self):
        """The weight of each token `[B, R]` in the sum."""
        ones = jnp.ones(self.mask.shape)
        if self.average == 'tokens':
            return ones
        if self.average == 'slots':
            return ones / self.mask.shape[1]
        lengths = jnp.sum(self.mask, 1, keepdims=True, dtype=jnp.float32)
        return ones / jnp.maximum(lengths, 1)
