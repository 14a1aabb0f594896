"""Templates of prompts and responses: text with the names of columns in braces."""

import re
from collections.abc import Callable

# `{{name}}` means the text `{name}`; braces around anything but a name are text too
_BRACES = re.compile(r'\{\{(\w+)\}\}|\{(\w+)\}')


def names(template: str) -> list[str]:
    """The names in braces, once each, in order."""
    matches = (match[2] for match in _BRACES.finditer(template))
    return list(dict.fromkeys(name for name in matches if name))


def fill(template: str, value: Callable[[str], str]) -> str:
    """Replaces each name in braces by its value; braces in a value are unchanged."""
    return _BRACES.sub(
        lambda match: value(match[2]) if match[2] else f'{{{match[1]}}}', template
    )
