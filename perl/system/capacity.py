"""How much memory the devices of this process have, where that can be known.

An accelerator reports its own memory. CPU devices share the memory of the machine, of
which a control group of Linux (a container, a job of a cluster) may permit only a part.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

import jax

_PROC = pathlib.Path('/proc')
_GROUPS = pathlib.Path('/sys/fs/cgroup')
# by version of control groups: folder, limit, use, and what of the use is file cache
_V1 = 'memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'
_V2 = '', 'memory.max', 'memory.current', 'inactive_file'


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Memory that devices have.

    Attributes:
        place: whose memory it is, as a message calls it.
        total: bytes that a run could have if nothing else used the memory.
        free: bytes of it that are free now.
        devices: how many devices share it.
    """

    place: str
    total: int
    free: int
    devices: int = 1


def capacity(devices: Sequence[jax.Device]) -> Capacity | None:
    """The memory of the devices of a run, or None if it is unknown.

    Args:
        devices: those of this process. Accelerators are alike, so the one with the
            least memory stands for all of them.
    """
    if all(device.platform == 'cpu' for device in devices):
        return _machine(len(devices))
    stats = [device.memory_stats() or {} for device in devices]
    if not all('bytes_limit' in row for row in stats):
        return None
    least = min(stats, key=lambda row: row['bytes_limit'])
    total = least['bytes_limit']
    return Capacity('an accelerator', total, total - least.get('bytes_in_use', 0))


def _machine(devices: int) -> Capacity | None:
    sizes = _meminfo()
    total = sizes.get('MemTotal') or _physical()
    if not total:
        return None
    free = sizes.get('MemAvailable', total)
    for limit, used in _limits():
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Capacity('this machine', total, free, devices)


def _meminfo() -> dict[str, int]:
    """The sizes in /proc/meminfo in bytes; empty except on Linux."""
    try:
        lines = (_PROC / 'meminfo').read_text().splitlines()
    except OSError:
        return {}
    words = (line.replace(':', '').split() for line in lines)
    return {row[0]: 1024 * int(row[1]) for row in words if row[2:] == ['kB']}


def _physical() -> int:
    """The memory of the machine as POSIX reports it, in bytes; 0 if unknown."""
    try:
        return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (ValueError, OSError):
        return 0


def _limits() -> Iterator[tuple[int, int]]:
    """(limit, bytes in use without file cache) of each control group of this process
    that has a limit."""
    try:
        lines = (_PROC / 'self' / 'cgroup').read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(':', 2)
        if controllers and 'memory' not in controllers.split(','):
            continue
        folder, limit, used, cache = _V1 if controllers else _V2
        root = _GROUPS / folder
        group = root / path.strip('/')
        # in a container the group of the process may be mounted as the root
        for place in (group, *group.parents):
            if not place.is_relative_to(root):
                break
            sizes = _number(place / limit), _number(place / used)
            if None not in sizes:
                yield sizes[0], max(0, sizes[1] - _cached(place, cache))


def _number(file: pathlib.Path) -> int | None:
    """The number in a file; None if it has none, such as `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _cached(group: pathlib.Path, name: str) -> int:
    """Bytes of files that a control group keeps in memory and may drop."""
    try:
        rows = (group / 'memory.stat').read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith(f'{name} ')), 0)
