"""Writes a number of bytes for a person."""

_DECIMALS = {'bytes': 0, 'KiB': 1, 'MiB': 1, 'GiB': 2}


def readable(size: float) -> str:
    """A number of bytes in the unit that fits, in powers of 1024.

    512 is `512 bytes`, 3 * 2**20 is `3.0 MiB`, 2**40 and more is in `TiB`.
    """
    for unit, decimals in _DECIMALS.items():
        # what would be rounded to 1024 belongs to the next unit
        if round(size, decimals) < 1024:
            return f'{size:,.{decimals}f} {unit}'
        size /= 1024
    return f'{size:,.2f} TiB'
