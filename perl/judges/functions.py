"""Rewards that are Python functions of a user, named `module:function`.

A reward function takes a list of n prompts and a list of their n responses, and returns
n numbers: the higher, the better, on whatever scale. NaN or None says that there is no
verdict. It is called with at most `BATCH` responses at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from perl.judges.reward import Reward, Texts
from perl.system import plugins
from perl.system.errors import UserError

BATCH = 256  # responses in one call of the function


def named(name: str) -> bool:
    """Whether the name of a judge is that of a function, not of a stage or folder."""
    return ':' in name and '/' not in name


def load(name: str) -> Reward:
    """The reward function of a name, with every answer checked.

    Args:
        name: `module:function`; the module is looked for in the working directory too.

    Raises:
        UserError: there is no such function. When the reward is called: the function
            fails, or returns something else than n numbers; the line names the function
            and the first response it is about.
    """
    function = plugins.find(name, 'reward function')
    if not callable(function):
        raise UserError(
            f'reward function: {name} is not a function but of the type '
            f'{type(function).__name__}; name a function of (prompts, responses)'
        )
    return checked(name, function)


def checked(name: str, function: Callable[..., Any]) -> Reward:
    """The function as a `Reward`: called in batches, its answers checked."""

    def reward(prompts: Texts, responses: Texts) -> np.ndarray:
        parts = [
            _call(name, function, list(prompts[at : at + BATCH]),
                  list(responses[at : at + BATCH]))
            for at in range(0, len(prompts), BATCH)
        ]  # fmt: skip
        return np.concatenate([np.zeros(0), *parts])

    return reward


def _call(name, function, prompts, responses):
    """float64 [n] from one call of the function."""
    try:
        answer = function(list(prompts), list(responses))
    except Exception as error:
        at = _first_failure(function, prompts, responses)
        cause = ' '.join(f'raised {type(error).__name__}: {error}'.split())
        raise _fault(name, cause[:200], prompts, responses, at) from error
    try:
        rewards = np.asarray(answer, np.float64)
    except Exception:  # an object of any library may be returned
        at = _first_not_a_number(answer)
        what = f'returned {type(answer).__name__} that is not a list of numbers'
        raise _fault(name, what, prompts, responses, at) from None
    n = len(prompts)
    if rewards.shape != (n,):
        kind = type(answer).__name__
        what = f'returned {kind} of shape {rewards.shape} for {n} responses'
        at = len(rewards) if rewards.ndim == 1 and len(rewards) < n else 0
        raise _fault(name, what, prompts, responses, at)
    if np.isinf(rewards).any():
        at = int(np.argmax(np.isinf(rewards)))
        raise _fault(name, f'returned {rewards[at]}', prompts, responses, at)
    return rewards


def _first_failure(function, prompts, responses):
    """The first response on which the function fails alone; 0 where it never does."""
    for at, pair in enumerate(zip(prompts, responses, strict=True)):
        try:
            function(*([text] for text in pair))
        except Exception:
            return at
    return 0


def _first_not_a_number(answer):
    """The place of the first element that is not a number; 0 where there is none."""
    if isinstance(answer, list | tuple):
        for at, value in enumerate(answer):
            try:
                single = np.asarray(value, np.float64).ndim == 0
            except Exception:
                single = False
            if not single:
                return at
    return 0


def _fault(name, what, prompts, responses, at):
    return UserError(
        f'{name}: the reward function {what}; it must return one finite number, or NaN '
        f'for no verdict, for each response; the first one that it fails on is '
        f'{_short(responses[at])} to the prompt {_short(prompts[at])}'
    )


def _short(text, most=60):
    """A text in one line of an error."""
    shown = repr(text)
    return shown if len(shown) <= most else f'{shown[:most]}…'
