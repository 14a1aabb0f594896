"""A process that ends is noticed, in whatever way it ends."""

import contextlib
import queue
import socket
import threading

import pytest

from perl.system.watch import Peer, Watch

LONG = 60.0  # seconds; no test waits so long unless it fails


@contextlib.contextmanager
def watched(seconds=LONG, count=1):
    """A `Watch` of some peers: their ends of the connections, and the reasons."""
    pairs = [socket.socketpair() for _ in range(count)]
    reasons, ended = queue.Queue(), threading.Event()

    def end(why):
        reasons.put(why)
        ended.set()
        watch.done()

    peers = [Peer(pair[0], f'process {i + 1}') for i, pair in enumerate(pairs)]
    watch = Watch(peers, seconds, end)
    try:
        yield watch, [Peer(pair[1], 'the watching one') for pair in pairs], reasons
    finally:
        watch.done()
        for pair in pairs:
            for end_of_it in pair:
                end_of_it.close()


def test_closed_connection():
    with watched() as (_, (other,), reasons):
        other.connection.close()
        assert reasons.get(timeout=LONG) == 'process 1 was killed or has crashed'


def test_the_reason_goes_to_all_others_in_one_line():
    with watched(count=3) as (_, others, reasons):
        others[1].send(b'failed', 'process 2: a bad\nconfig')
        assert reasons.get(timeout=LONG) == 'process 2: a bad config'
        for other in (others[0], others[2]):
            while not (why := other.read()):
                pass
            assert why == 'process 2: a bad config'
        others[1].connection.settimeout(0.1)
        assert others[1].read() is None, 'nothing but a sign of life and the end'


def test_silence():
    with watched(seconds=0.3) as (_, _, reasons):
        assert reasons.get(timeout=LONG) == (
            'process 1 has given no sign of life for 0 seconds'
        )


def test_signs_of_life():
    with watched(seconds=1.5) as (_, (other,), reasons):
        for _ in range(10):
            other.send(b'alive')
            with pytest.raises(queue.Empty):
                reasons.get(timeout=0.2)


def test_end_in_good_order():
    with watched(count=2) as (_, (done, other), reasons):
        done.send(b'done')
        done.connection.close()
        other.send(b'failed', 'why')
        assert reasons.get(timeout=LONG) == 'why'


def test_after_the_own_end_others_may_do_what_they_want():
    with watched() as (watch, (other,), reasons):
        watch.done()
        other.connection.close()
        with pytest.raises(queue.Empty):
            reasons.get(timeout=0.5)
