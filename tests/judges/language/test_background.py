"""Ctrl-C while a coroutine runs: the first waits for its end, the second leaves."""

import asyncio
import os
import signal
import socket
import threading
import time

import pytest

from perl.judges.language import background
from perl.system.interrupt import Interrupt


@pytest.fixture(autouse=True)
def interruptible():
    """SIGINT raises, also in a worker of pytest-xdist, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_value_and_an_error():
    async def value(stop):
        return 7

    async def error(stop):
        raise ValueError('no')

    assert background.run(value) == 7
    with pytest.raises(ValueError, match='no'):
        background.run(error)


def test_inside_another_event_loop():
    """As in a notebook."""

    async def value(stop):
        return 7

    async def outer():
        return background.run(value)

    assert asyncio.run(outer()) == 7


def test_the_first_asks_to_stop_and_waits_for_the_end():
    ended = []

    async def work(stop):
        press()
        await stop.wait()
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        background.run(work)
    assert ended


def test_the_second_leaves_at_once():
    release, ended = threading.Event(), []

    async def work(stop):
        press()
        await stop.wait()
        press()
        while not release.is_set():
            await asyncio.sleep(0.01)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        background.run(work)
    assert not ended
    release.set()


def test_inside_an_interrupt_the_second_is_the_first_that_raises():
    release, ended = threading.Event(), []

    async def work(stop):
        press()
        while not interrupt.requested:
            await asyncio.sleep(0.01)
        press()
        while not release.is_set():
            await asyncio.sleep(0.01)
        ended.append(True)

    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        background.run(work)
    assert interrupt.requested and not ended
    release.set()


def test_nobody_waits_for_the_look_up_of_an_address(monkeypatch):
    """It hangs where the network is broken, and cannot be stopped."""
    release = threading.Event()
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **kw: release.wait(60))

    async def work(stop):
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.05):
            await loop.getaddrinfo('nowhere.invalid', 80)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        background.run(work)
    waiting = [x for x in threading.enumerate() if not x.daemon]
    assert time.monotonic() - began < 10
    assert waiting == [threading.main_thread()], 'the process ends without them'
    release.set()


def test_the_address_that_was_looked_up():
    async def work(stop):
        return await asyncio.get_running_loop().getaddrinfo('127.0.0.1', 80)

    assert background.run(work)[0][4] == ('127.0.0.1', 80)
