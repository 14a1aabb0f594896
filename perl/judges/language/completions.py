"""Reads chat completions: the option in an answer, and the option probabilities."""

import math
from collections.abc import Mapping
from typing import Any

from perl.judges.language.questions import Template


def well_formed(text: str) -> str:
    """The text with '?' for each half of a surrogate pair, which JSON can contain but
    UTF-8 cannot."""
    return text.encode('utf-8', 'replace').decode('utf-8')


def read(
    choice: Mapping[str, Any], template: Template
) -> tuple[str, list[float] | None]:
    """The text of a completion, and the probability of each option `[options]`.

    The probabilities are those at the token of the answer if the server returns
    log-probs, else 0 and 1. They are None if the text does not name one option.
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
    """Shares of the options at the first token that is the whole answer."""
    try:
        tokens = choice['logprobs']['content']
        thought = [i for i, t in enumerate(tokens) if '</think>' in t['token']]
        tokens = tokens[thought[-1] + 1 :] if thought else tokens
        place = next(t for t in tokens if t['token'].strip().upper() == options[option])
        # the token of the answer need not be among the most likely ones
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
        return None  # the server returns no log-probs, or in another form


def _beginnings(options, words):
    """Options that may continue to a longer one, as "1" does if "10" is not a token."""
    return {
        option
        for option in options
        for longer in options
        if longer != option and longer.startswith(option) and longer not in words
    }
