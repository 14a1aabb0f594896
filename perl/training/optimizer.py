"""Optimizers and schedules, all of them optax's."""

from typing import Any

import optax

from perl.system.errors import UserError

SCHEDULES = ('constant', 'linear', 'cosine')
OPTIMIZERS = ('adamw', 'adafactor')


def schedule(config: Any, steps: int) -> optax.Schedule:
    """Learning rate by optimizer step: a linear warmup that does not start at zero,
    then constant, or falling to `final * learning_rate` at `steps`."""
    peak, warmup = config.learning_rate, min(config.warmup, steps)
    rest = max(steps - warmup, 1)
    if config.schedule == 'cosine':
        after = optax.cosine_decay_schedule(peak, rest, config.final)
    elif config.schedule == 'linear':
        after = optax.linear_schedule(peak, config.final * peak, rest)
    elif config.schedule == 'constant':
        after = optax.constant_schedule(peak)
    else:
        raise UserError(
            f'optimizer.schedule: {config.schedule!r} is not one of '
            f'{", ".join(SCHEDULES)}'
        )
    if not warmup:
        return after
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, after], [warmup])


def only(
    optimizer: optax.GradientTransformation, part: str
) -> optax.GradientTransformation:
    """Updates one part of the trainable dict; the others stay, and need no moments."""
    kinds = {'updated': optimizer, 'still': optax.set_to_zero()}
    return optax.partition(
        kinds, lambda tree: {k: 'updated' if k == part else 'still' for k in tree}
    )


def make(config: Any, steps: int) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW or Adafactor.

    Args:
        config: learning_rate, warmup, schedule, final, name, b1, b2, eps,
            weight_decay, clip (0 clips nothing).
        steps: the optimizer steps of the whole stage.
    """
    rate = schedule(config, steps)
    if config.name == 'adamw':
        update = optax.adamw(
            rate,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
    elif config.name == 'adafactor':
        update = optax.adafactor(rate, multiply_by_parameter_scale=False)
        if config.weight_decay:  # by the rate too, as AdamW has it; optax's own is not
            decay = optax.add_decayed_weights(lambda n: -rate(n) * config.weight_decay)
            update = optax.chain(update, decay)
    else:
        raise UserError(
            f'optimizer.name: {config.name!r} is not one of {", ".join(OPTIMIZERS)}'
        )
    if not config.clip:
        return update
    return optax.chain(optax.clip_by_global_norm(config.clip), update)
