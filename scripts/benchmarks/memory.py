"""The memory of this process."""

import resource
import sys


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
