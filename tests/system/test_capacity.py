"""The memory of a machine, of a control group and of accelerators."""

from unittest import mock

import pytest

from perl.system import capacity
from perl.system.capacity import Capacity

GIB = 2**30
MEMINFO = f"""MemTotal:       {16 * 2**20} kB
MemFree:         1024 kB
MemAvailable:   {10 * 2**20} kB
HugePages_Total:       0
"""
CPU = mock.Mock(platform='cpu')


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """Writes files of /proc and /sys/fs/cgroup that stand for those of Linux."""
    monkeypatch.setattr(capacity, '_PROC', tmp_path / 'proc')
    monkeypatch.setattr(capacity, '_GROUPS', tmp_path / 'groups')

    def write(**files):
        for name, text in {'proc/meminfo': MEMINFO, **files}.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def test_a_machine(linux):
    linux(**{'proc/self/cgroup': '0::/\n'})
    found = capacity.capacity([CPU, CPU])
    assert found == Capacity('this machine', 16 * GIB, 10 * GIB, devices=2)


@pytest.mark.parametrize(
    ('path', 'folder'), [('/a/job', 'a/job'), ('/a/job', 'a'), ('/a/job', '')]
)
@pytest.mark.parametrize('version', [1, 2])
def test_a_control_group_with_a_limit(linux, path, folder, version):
    """Of the process itself or one above it; what files are cached does not count."""
    if version == 1:
        root, limit, used = 'memory/', 'memory.limit_in_bytes', 'memory.usage_in_bytes'
        line, cached = f'9:cpu:/x\n4:memory,net:{path}\n', 'total_inactive_file'
    else:
        root, limit, used, cached = '', 'memory.max', 'memory.current', 'inactive_file'
        line = f'0::{path}\n'
    linux(
        **{
            'proc/self/cgroup': line,
            f'groups/{root}{folder}/{limit}': f'{4 * GIB}\n',
            f'groups/{root}{folder}/{used}': f'{3 * GIB}\n',
            f'groups/{root}{folder}/memory.stat': f'anon 5\n{cached} {2 * GIB}\n',
        }
    )
    found = capacity.capacity([CPU])
    assert found == Capacity('this machine', 4 * GIB, 3 * GIB)


def test_a_control_group_without_a_limit(linux):
    linux(
        **{
            'proc/self/cgroup': '0::/job\n',
            'groups/job/memory.max': 'max\n',
            'groups/job/memory.current': f'{3 * GIB}\n',
        }
    )
    assert capacity.capacity([CPU]).total == 16 * GIB


def test_a_system_without_proc(linux, monkeypatch):
    sizes = {'SC_PHYS_PAGES': 2**20, 'SC_PAGE_SIZE': 4096}
    monkeypatch.setattr(capacity.os, 'sysconf', sizes.get)
    assert capacity.capacity([CPU]) == Capacity('this machine', 4 * GIB, 4 * GIB)


def test_accelerators():
    """The one with the least memory stands for all; each has its own."""
    stats = [{'bytes_limit': 80, 'bytes_in_use': 3}, {'bytes_limit': 60}]
    devices = [mock.Mock(platform='gpu', memory_stats=lambda x=x: x) for x in stats]
    assert capacity.capacity(devices[:1]) == Capacity('an accelerator', 80, 77)
    assert capacity.capacity(devices) == Capacity('an accelerator', 60, 60)
    silent = mock.Mock(platform='gpu', memory_stats=lambda: None)
    assert capacity.capacity([*devices, silent]) is None
