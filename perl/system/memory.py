"""The most memory that a stretch of a program, such as a stage, has had in use.

Memory of the first device where its backend tells, else of the process. Both are told
as a peak since the process began, which only Linux can set back. Elsewhere that peak
counts for a stretch that raised it, and the largest of many samples for any other.
"""

import pathlib
import resource
import sys
import threading

import jax

_SECONDS = 0.05  # between two samples
_PROC = pathlib.Path('/proc/self')


class Stretch:
    """Measures from its beginning on."""

    def __init__(self):
        self._ended = threading.Event()
        self._largest_sample = 0
        self._set_back = not _device_stats() and _set_peak_back()
        self._peak_before = _peak()
        if not self._set_back:
            threading.Thread(target=self._sample, daemon=True).start()

    def peak_bytes(self) -> int:
        """The most bytes in use since the beginning."""
        peak = _peak()
        if self._set_back or peak > self._peak_before:
            return peak
        return max(self._largest_sample, _in_use()) or peak

    def end(self) -> None:
        """Takes no more samples."""
        self._ended.set()

    def _sample(self):
        while not self._ended.wait(_SECONDS):
            self._largest_sample = max(self._largest_sample, _in_use())


_current: Stretch | None = None


def begin() -> None:
    """Begins a new stretch, which ends the one before."""
    global _current
    if _current:
        _current.end()
    _current = Stretch()


def peak_bytes() -> int:
    """The most bytes in use since the last `begin`, or since the process began."""
    return _current.peak_bytes() if _current else _peak()


def _peak() -> int:
    if stats := _device_stats():
        return int(stats['peak_bytes_in_use'])
    if size := _size('VmHWM'):
        return size
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _in_use() -> int:
    """Bytes in use now; 0 where nobody tells."""
    if stats := _device_stats():
        return int(stats.get('bytes_in_use', 0))
    return _size('VmRSS')


def _device_stats() -> dict[str, int]:
    """What the backend tells of the first device; empty where it tells no peak."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats if 'peak_bytes_in_use' in stats else {}


def _size(name: str) -> int:
    """A size from Linux's account of this process, in bytes; 0 where there is none."""
    try:
        lines = (_PROC / 'status').read_text().splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith(f'{name}:')]
    return 1024 * int(sizes[0]) if sizes else 0


def _set_peak_back() -> bool:
    """Makes what is in use now the peak of the process, where Linux permits it."""
    try:
        (_PROC / 'clear_refs').write_text('5')
    except OSError:
        return False
    return _size('VmHWM') > 0
