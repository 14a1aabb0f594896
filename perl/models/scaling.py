"""Rotary frequencies, as they are and as models with longer windows change them."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from perl.system.errors import UserError

KINDS = ('linear', 'llama3', 'yarn', 'longrope')


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How the frequencies of rotary positions were changed to reach a longer window.

    Every kind gives one set of frequencies, whatever the length of a row. Kinds that
    depend on the length (`dynamic`, the long factors of `longrope`) are left out: the
    keys of a cache, and log-probs of one row, would depend on what comes later.

    Attributes:
        kind: `linear` (arXiv 2306.15595) divides every frequency by the factor;
            `llama3` (Llama 3.1) and `yarn` (arXiv 2309.00071) divide the low ones, keep
            the high ones and interpolate between; `longrope` (arXiv 2402.13753) divides
            each by a factor of its own.
        factor: of the longer window.
        original_length: the window before, in tokens.
        low, high: of llama3: how often a component turns within the window before, for
            the lowest frequency that is not divided by the whole factor and the highest
            one that is divided at all.
        slow, fast: the same of yarn.
        truncate: of yarn: whether these two borders are rounded to components.
        magnitude: multiplies cosines and sines.
        short: of longrope: the divisors, one for each frequency, of rows within the
            window before.
        long: those of longer rows, which are kept to be written back and not used.
    """

    kind: str
    factor: float
    original_length: int = 0
    low: float = 1.0
    high: float = 4.0
    slow: float = 1.0
    fast: float = 32.0
    truncate: bool = True
    magnitude: float = 1.0
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ('short', 'long'):  # lists of a JSON file
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kind not in KINDS:
            raise UserError(
                f'model.rope_scaling: {self.kind!r:.40} is not one of '
                f'{", ".join(KINDS)}'
            )
        _check_numbers(self)
        if not (self.factor > 0 and self.magnitude > 0):
            raise UserError(
                f'model.rope_scaling: factor {self.factor} and magnitude '
                f'{self.magnitude} must be above 0'
            )
        if self.kind != 'linear' and self.original_length < 1:
            raise UserError(
                f'model.rope_scaling: {self.kind} needs original_length, the window '
                'before, above 0'
            )
        if not self.low < self.high:
            raise UserError(
                f'model.rope_scaling: low {self.low} must be below high {self.high}'
            )


def _check_numbers(scaling):
    names = ('factor', 'original_length', 'low', 'high', 'slow', 'fast', 'magnitude')
    named = [(name, getattr(scaling, name)) for name in names]
    named += [('short', x) for x in scaling.short] + [('long', x) for x in scaling.long]
    for name, value in named:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value)):
            raise UserError(
                f'model.rope_scaling: {name} {value!r:.40} is not a finite number'
            )
        if name in ('short', 'long') and value <= 0:
            raise UserError(f'model.rope_scaling: {name} {value} must be above 0')


def frequencies(theta: float, width: int, scaling: Scaling | None) -> jax.Array:
    """Radians a token, float32 `[M]`, of the M = ceil(width / 2) pairs of components.

    Args:
        theta: base of the rotary frequencies.
        width: how many components of a head turn.
        scaling: of the frequencies; None leaves them.
    """
    half = jnp.arange(0, width, 2, dtype=jnp.float32) / width
    plain = jnp.float32(theta) ** -half
    if scaling is None:
        return plain
    if scaling.kind == 'linear':
        return plain / scaling.factor
    if scaling.kind == 'longrope':
        if len(scaling.short) != plain.size:
            raise UserError(
                f'model.rope_scaling: longrope has {len(scaling.short)} short factors '
                f'for {plain.size} frequencies; give one for each'
            )
        return plain / jnp.asarray(scaling.short, jnp.float32)
    kept = _llama3(plain, scaling) if scaling.kind == 'llama3' else None
    kept = _yarn(theta, width, scaling) if kept is None else kept
    return plain / scaling.factor * (1 - kept) + plain * kept


def _llama3(plain, scaling):
    """The share of each frequency that stays as it is, by how often it turns within the
    window before."""
    turns = scaling.original_length * plain / (2 * math.pi)
    return jnp.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)


def _yarn(theta, width, scaling):
    """The share of each frequency that stays as it is, by its component."""

    def component(turns):
        ratio = scaling.original_length / (turns * 2 * math.pi)
        return width * math.log(ratio) / (2 * math.log(theta))

    first, last = component(scaling.fast), component(scaling.slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    last += 0.001 * (first == last)
    ramp = (jnp.arange(-(-width // 2), dtype=jnp.float32) - first) / (last - first)
    return 1 - jnp.clip(ramp, 0, 1)
