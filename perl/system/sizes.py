"""Writes a number of bytes for a person."""

_UNITS = (('KiB', 1), ('MiB', 1), ('GiB', 2), ('TiB', 2), ('PiB', 2))  # and decimals


def readable(size: float) -> str:
    """A number of bytes in the largest unit of which it has one or more.

    Units are powers of 1024: 512 is `512 bytes`, 3 * 2**30 is `3.00 GiB`.
    """
    if size < 1024:
        return f'{size:.0f} bytes'
    for unit, decimals in _UNITS:
        size /= 1024
        # what would be rounded to 1024 belongs to the next unit
        if round(size, decimals) < 1024:
            break
    return f'{size:,.{decimals}f} {unit}'
