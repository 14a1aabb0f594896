"""A user's Python function as a reward, named `module:function`.

A reward function takes a list of n prompts and a list of their n responses and returns
n numbers on any scale; higher is better. NaN or None means no verdict. It is called
with at most `BATCH` responses at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from perl.judges.reward import Reward, Texts
from perl.system import plugins
from perl.system.errors import UserError

BATCH = 256  # responses in one call of the function


def named(name: str) -> bool:
    """Whether a judge's name is that of a function, not of a stage or folder."""
    return ':' in name and '/' not in name


def load(name: str) -> Reward:
    """The reward function with this name; its results are checked.

    Args:
        name: `module:function`; the module may be in the working directory.

    Raises:
        UserError: there is no such function. When the reward is called: the function
            fails or does not return n numbers; the message names the function and the
            first response that causes the error.
    """
    function = plugins.find(name, 'reward function')
    if not callable(function):
        raise UserError(
            f'reward function: {name} is not a function but of the type '
            f'{type(function).__name__}; name a function of (prompts, responses)'
        )
    return checked(name, function)


def checked(name: str, function: Callable[..., Any]) -> Reward:
    """The function as a `Reward`: called in batches, with checked results."""

    def reward(prompts: Texts, responses: Texts) -> np.ndarray:
        parts = [
            _call(name, function, list(prompts[at : at + BATCH]),
                  list(responses[at : at + BATCH]))
            for at in range(0, len(prompts), BATCH)
        ]  # fmt: skip
        return np.concatenate([np.zeros(0), *parts])

    return reward


def _call(name, function, prompts, responses):
    """The result of one call of the function, float64 `[n]`."""
    try:
        answer = function(list(prompts), list(responses))
    except plugins.FAILURES as error:
        at = _first_failure(function, prompts, responses)
        cause = ' '.join(f'{type(error).__name__}: {error}'.split())
        where = plugins.place(error)
        raise UserError(
            f'{name}: the reward function raised {cause[:200]}'
            f'{f" ({where})" if where else ""}; the first response that fails is '
            f'{_pair(prompts, responses, at)}'
        ) from error
    try:
        rewards = _numbers(answer)
    except Exception:  # the function may return an object of any library
        at, what = _not_a_number(answer)
        last = len(responses) - 1  # the answer may be longer
        raise _fault(name, what, prompts, responses, min(at, last)) from None
    n = len(prompts)
    if rewards.shape != (n,):
        kind = type(answer).__name__
        shape = rewards.shape
        what = f'returned a value of type {kind} and shape {shape} for {n} responses'
        at = len(rewards) if rewards.ndim == 1 and len(rewards) < n else 0
        raise _fault(name, what, prompts, responses, at)
    infinite = np.abs(rewards) > np.finfo(np.float32).max  # what they become
    if infinite.any():
        at = int(np.argmax(infinite))
        raise _fault(name, f'returned {rewards[at]}', prompts, responses, at)
    return rewards


def _first_failure(function, prompts, responses):
    """The first response that fails in a call with only this response; 0 if none."""
    for at, pair in enumerate(zip(prompts, responses, strict=True)):
        try:
            function(*([text] for text in pair))
        except plugins.FAILURES:
            return at
    return 0


def _numbers(answer):
    """The answer of a function as float64, of any shape. NumPy makes numbers of texts
    such as '1' as well, which are refused."""
    values = np.ravel(np.asarray(answer, object))
    if any(isinstance(value, str | bytes) for value in values):
        raise TypeError('text is not a number')
    return np.asarray(answer, np.float64)


def _not_a_number(answer):
    """The index of the first element that is not a number (0 where the answer has no
    elements), and what was returned."""
    if isinstance(answer, list | tuple | np.ndarray):
        for at, value in enumerate(answer):
            try:
                single = _numbers(value).ndim == 0
            except Exception:
                single = False
            if not single:
                kind = type(value).__name__
                return at, f'returned {_short(value)} of type {kind}, not a number'
    return 0, f'returned a value of type {type(answer).__name__}, not a list of numbers'


def _fault(name, what, prompts, responses, at):
    return UserError(
        f'{name}: the reward function {what}; it must return one finite number, or NaN '
        f'for no verdict, for each response; the first response that fails is '
        f'{_pair(prompts, responses, at)}'
    )


def _pair(prompts, responses, at):
    """A response and its prompt for an error message."""
    return f'{_short(responses[at])} to the prompt {_short(prompts[at])}'


def _short(text, most=60):
    """A short form of a text for an error message."""
    shown = repr(text)
    return shown if len(shown) <= most else f'{shown[:most]}…'
