"""Reads chat completions: the option that an answer names, and its probability."""

import math
from collections.abc import Mapping
from typing import Any

from perl.judges.language.questions import Template


def well_formed(text: str) -> str:
    """A text that UTF-8 can carry: '?' for a half of a surrogate pair, which JSON may
    hold."""
    return text.encode('utf-8', 'replace').decode('utf-8')


def read(
    choice: Mapping[str, Any], template: Template
) -> tuple[str, list[float] | None]:
    """The text of a completion, and the probability of each option `[options]`.

    The probabilities are those at the token of the answer, where the server tells them;
    else they are 0 and 1. They are None where the text names no option.
    """
    text = choice['message'].get('content')
    text = well_formed(text) if isinstance(text, str) else ''
    option = template.parse(text)
    if option is None:
        return text, None
    chances = _soft(choice, template.options, option)
    if chances is None:
        chances = [float(i == option) for i in range(len(template.options))]
    return text, chances


def _soft(choice, options, option):
    """Shares of the options at the first token that is the answer as a whole."""
    try:
        tokens = choice['logprobs']['content']
        thought = [i for i, t in enumerate(tokens) if '</think>' in t['token']]
        tokens = tokens[thought[-1] + 1 :] if thought else tokens
        place = next(t for t in tokens if t['token'].strip().upper() == options[option])
        # the token of the answer may or may not be among the likeliest ones
        likely = {t['token']: t['logprob'] for t in [place, *place['top_logprobs']]}
        words = [token.strip().upper() for token in likely]
        unsure = _beginnings(options, words) - {options[option]}
        weights = [0.0] * len(options)
        for word, log_prob in zip(words, likely.values(), strict=True):
            if word in options and word not in unsure:
                weights[options.index(word)] += math.exp(log_prob)
        total = sum(weights)
        return [w / total for w in weights] if 0 < total < math.inf else None
    except (LookupError, TypeError, AttributeError, StopIteration, OverflowError):
        return None  # the server tells no log-probs, or tells them in its own way


def _beginnings(options, words):
    """Options that may go on to a longer one, as "1" does where no "10" is a token."""
    return {
        option
        for option in options
        for longer in options
        if longer != option and longer.startswith(option) and longer not in words
    }
