"""Short excerpts of a user's data for error messages."""


def shown(value: object) -> str:
    """The first 40 characters of a value."""
    return f'{value!r:.40}'
