"""The peak of a stretch is its own, not that of what came before."""

from unittest import mock

import jax
import numpy as np
import pytest

from perl.system import memory

MIB = 2**20


def block(mib):
    return np.ones(mib * MIB // 8)


def rises_and_falls():
    """Bytes of a large stretch, of a small one, and of a large one again."""
    peaks = []
    for mib in (256, 8, 128):
        memory.begin()
        held = block(mib)
        del held
        peaks.append(memory.peak_bytes())
    return peaks


def test_a_peak_is_of_its_stretch():
    if not memory._reset_peak():
        pytest.skip('this system does not let a process set its peak back')
    large, small, middle = rises_and_falls()
    assert large - small > 200 * MIB
    assert 80 * MIB < middle - small < 200 * MIB


def test_without_it_a_stretch_counts_what_it_raised(monkeypatch):
    now, peak = 10 * MIB, 10 * MIB
    monkeypatch.setattr(memory, '_reset_peak', lambda: False)
    monkeypatch.setattr(memory, '_in_use', lambda: now)
    monkeypatch.setattr(memory, '_peak', lambda: peak)
    memory.begin()
    peak = 500 * MIB
    assert memory.peak_bytes() == 500 * MIB
    memory.begin()
    now = 20 * MIB
    assert memory.peak_bytes() == 20 * MIB
    memory._current.end()


def test_samples_hold_what_was_there_between(monkeypatch):
    monkeypatch.setattr(memory, '_SECONDS', 0.001)
    monkeypatch.setattr(memory, '_reset_peak', lambda: False)
    monkeypatch.setattr(memory, '_peak', lambda: 900 * MIB)
    used = iter([30 * MIB, *[5 * MIB] * 10**6])
    monkeypatch.setattr(memory, '_in_use', lambda: next(used))
    memory.begin()
    while not memory._current._largest_sample:
        pass
    assert memory.peak_bytes() == 30 * MIB
    memory._current.end()


def test_a_device_tells_for_itself(monkeypatch):
    stats = {'peak_bytes_in_use': 900, 'bytes_in_use': 100}
    device = mock.Mock(memory_stats=lambda: stats)
    monkeypatch.setattr(jax, 'local_devices', lambda: [device])
    memory.begin()
    assert memory.peak_bytes() == 100
    stats['peak_bytes_in_use'] = 950
    assert memory.peak_bytes() == 950
    memory._current.end()
