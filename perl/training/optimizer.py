"""Optimizers and schedules, all of them optax's."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from perl.system.errors import UserError
from perl.weights import Leaf, is_leaf

SCHEDULES = ('constant', 'linear', 'cosine')
OPTIMIZERS = ('adamw', 'adafactor')


def schedule(config: Any, steps: int) -> optax.Schedule:
    """The learning rate of each update, counted from 0.

    A linear warmup that does not start at zero reaches the learning rate at update
    `warmup`; then the rate is constant, or falls so that the last of the `steps`
    updates has `final * learning_rate`. A stage that warms up until its last update has
    no room to fall, and ends where the warmup has come to: at the learning rate, or a
    step below it.
    """
    peak, warmup = config.learning_rate, min(config.warmup, steps)
    falling = max(steps - 1 - warmup, 1)
    if config.schedule == 'cosine':
        after = optax.cosine_decay_schedule(peak, falling, config.final)
    elif config.schedule == 'linear':
        after = optax.linear_schedule(peak, config.final * peak, falling)
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


def make(config: Any, steps: int, declared: Any) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW or Adafactor.

    Args:
        config: learning_rate, warmup, schedule, final, name, b1, b2, eps,
            weight_decay, clip (0 clips nothing).
        steps: the optimizer steps of the whole stage.
        declared: the trainable tree on paper, which says what decays.
    """
    rate, decays = schedule(config, steps), decaying(declared)
    if config.name == 'adamw':
        update = optax.adamw(
            rate,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decays,
        )
    elif config.name == 'adafactor':
        update = optax.adafactor(rate, multiply_by_parameter_scale=False)
        if config.weight_decay:  # times the rate, as in AdamW; optax's own is not
            decay = optax.add_decayed_weights(
                lambda n: -rate(n) * config.weight_decay, mask=decays
            )
            update = optax.chain(update, decay)
    else:
        raise UserError(
            f'optimizer.name: {config.name!r} is not one of {", ".join(OPTIMIZERS)}'
        )
    update = at_rates(update, declared)
    if not config.clip:
        return update
    return optax.chain(optax.clip_by_global_norm(config.clip), update)


def at_rates(
    optimizer: optax.GradientTransformation, declared: Any
) -> optax.GradientTransformation:
    """The updates of an optimizer, decay included, times the declared rate of each leaf
    (LoRA+, arXiv 2402.12354); a leaf of rate 0 stays, and needs no moments.

    Args:
        optimizer: whose updates are scaled.
        declared: the trainable tree on paper.
    """
    rates = {
        jax.tree_util.keystr(path): x.rate if isinstance(x, Leaf) else 1.0
        for path, x in jax.tree_util.tree_leaves_with_path(declared, is_leaf=is_leaf)
    }
    others = set(rates.values()) - {1.0}
    if not others:
        return optimizer
    each = {1.0: optimizer, 0.0: optax.set_to_zero()}
    each |= {x: optax.chain(optimizer, optax.scale(x)) for x in others - {0.0}}
    return optax.partition(
        each,
        lambda tree: jax.tree_util.tree_map_with_path(
            lambda path, _: rates[jax.tree_util.keystr(path)], tree
        ),
    )


def decaying(declared: Any) -> Callable[[Any], Any]:
    """Which weights decay: kernels, embeddings and the factors of adapters.

    Norms, biases and scalar heads do not, as in the trainers of Hugging Face. What is
    declared by its shape alone (a gate) decays where it has two axes or more.

    Args:
        declared: the trainable tree on paper.

    Returns:
        A function from a tree of arrays, the declared one or a part of it at the same
        paths, to a tree of bool, as optax takes it.
    """
    kernels = {
        jax.tree_util.keystr(path)
        for path, x in jax.tree_util.tree_leaves_with_path(declared, is_leaf=is_leaf)
        if (x.inputs > 0 if isinstance(x, Leaf) else len(x.shape) > 1)
    }
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path) in kernels, tree
    )
