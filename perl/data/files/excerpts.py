"""How errors show a value of a user's data."""


def shown(value: object) -> str:
    """The beginning of a value: a few words of a user's text, no more."""
    return f'{value!r:.40}'
