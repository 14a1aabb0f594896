"""Measures the peak memory of a stretch of a program, such as a stage.

It is the memory of the first device if its backend reports it, else of the process.
Both report the peak since the process began, and only Linux can reset the latter.
Without a reset, the reported peak is used if it rose during the stretch; if it did not
rise, the largest of many samples is used.
"""

import pathlib
import resource
import sys
import threading

import jax

_SECONDS = 0.05  # between two samples
_PROC = pathlib.Path('/proc/self')


class Stretch:
    """Measures peak memory from its construction on."""

    def __init__(self):
        self._ended = threading.Event()
        self._largest_sample = 0
        self._was_reset = not _device_stats() and _reset_peak()
        self._peak_before = _peak()
        if not self._was_reset:
            threading.Thread(target=self._sample, daemon=True).start()

    def peak_bytes(self) -> int:
        """The peak memory since construction, in bytes."""
        peak = _peak()
        if self._was_reset or peak > self._peak_before:
            return peak
        return max(self._largest_sample, _in_use()) or peak

    def end(self) -> None:
        """Stops sampling."""
        self._ended.set()

    def _sample(self):
        while not self._ended.wait(_SECONDS):
            self._largest_sample = max(self._largest_sample, _in_use())


_current: Stretch | None = None


def begin() -> None:
    """Ends the current stretch and begins a new one."""
    global _current
    if _current:
        _current.end()
    _current = Stretch()


def peak_bytes() -> int:
    """The peak memory in bytes since the last `begin`, or since the process began."""
    return _current.peak_bytes() if _current else _peak()


def _peak() -> int:
    if stats := _device_stats():
        return int(stats['peak_bytes_in_use'])
    if size := _size('VmHWM'):
        return size
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes on macOS, else KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _in_use() -> int:
    """Bytes in use now; 0 if unknown."""
    if stats := _device_stats():
        return int(stats.get('bytes_in_use', 0))
    return _size('VmRSS')


def _device_stats() -> dict[str, int]:
    """Memory statistics of the first device; empty if the backend reports no peak."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats if 'peak_bytes_in_use' in stats else {}


def _size(name: str) -> int:
    """A size from /proc/self/status, in bytes; 0 if unknown."""
    try:
        lines = (_PROC / 'status').read_text().splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith(f'{name}:')]
    return 1024 * int(sizes[0]) if sizes else 0


def _reset_peak() -> bool:
    """Resets the peak of the process to the memory in use now, if Linux permits it."""
    try:
        (_PROC / 'clear_refs').write_text('5')
    except OSError:
        return False
    return _size('VmHWM') > 0
