"""Templates of prompts and responses: text with the names of columns in braces."""

import re
from collections.abc import Callable

# `{{name}}` is `{name}` as text; braces around anything but a name are text too
_BRACES = re.compile(r'\{\{(\w+)\}\}|\{(\w+)\}')


def names(template: str) -> list[str]:
    """The names in braces, once each, in order."""
    found = (match[2] for match in _BRACES.finditer(template))
    return list(dict.fromkeys(name for name in found if name))


def fill(template: str, value: Callable[[str], str]) -> str:
    """The template with the value of each name in its place.

    What a value has in braces stays as it is.
    """
    return _BRACES.sub(
        lambda match: value(match[2]) if match[2] else f'{{{match[1]}}}', template
    )
