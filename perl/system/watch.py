"""Notices that a process of a run has ended, so that the others do not wait for it.

A collective operation with a process that is gone waits for minutes or forever. So
every process holds a connection to process 0. The operating system closes it when a
process ends in any way; where a machine or the network fails, the signs of life stop. A
thread of each process then says which process has ended, and ends its own.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

_BEATS = 6  # signs of life in the time after which silence is an end
ALIVE, _DONE, _FAILED = b'alive', b'done', b'failed'
LONGEST = 1000  # bytes of a message


class Peer:
    """The connection to another process.

    Attributes:
        name: of the process, for messages.
        done: whether it has said that it ends in good order.
    """

    def __init__(self, connection: socket.socket, name: str):
        self.connection, self.name, self.done = connection, name, False
        self._heard, self._text = time.monotonic(), b''

    def send(self, word: bytes, text: str = '') -> None:
        """Sends a message; a connection that is broken is noticed by reading."""
        line = word + b' ' + ' '.join(text.split()).encode()[:LONGEST] + b'\n'
        with contextlib.suppress(OSError):
            self.connection.sendall(line)

    def read(self) -> str | None:
        """Takes what has arrived.

        Returns:
            Why the process has ended, or None where it has not.
        """
        try:
            data = self.connection.recv(4096)
        except OSError:
            data = b''
        if not data:
            return None if self.done else f'{self.name} was killed or has crashed'
        self._heard = time.monotonic()
        *lines, self._text = (self._text + data).split(b'\n')
        for line in lines:
            word, _, text = line.partition(b' ')
            self.done |= word == _DONE
            if word == _FAILED:
                return text.decode(errors='replace')
        return None

    def silent(self, seconds: float) -> bool:
        """Whether nothing was heard of it for so long."""
        return not self.done and time.monotonic() - self._heard > seconds


class Watch:
    """A thread that watches the other processes: process 0 all of them, and each of
    them process 0.

    Args:
        peers: connections to them.
        seconds: without a sign of life after which a process counts as ended.
        end: called in the thread with the reason when a process has ended.
    """

    def __init__(self, peers: list[Peer], seconds: float, end: Callable[[str], None]):
        self._peers, self._seconds, self._end = peers, seconds, end
        self._at_work, self._lock = True, threading.RLock()
        threading.Thread(target=self._run, daemon=True, name='watch').start()

    def done(self) -> None:
        """Says that this process ends in good order; what others do is now theirs."""
        self._stop()
        self._tell(_DONE)

    def failed(self, why: str) -> None:
        """Says that this process ends, and why; it hears of no other end any more."""
        self._stop()
        self._tell(_FAILED, why)

    def _stop(self):
        with self._lock:  # so that a process gives one reason
            self._at_work = False

    def _tell(self, word, text=''):
        for peer in self._peers:
            peer.send(word, text)

    def _run(self):
        pause = self._seconds / _BEATS
        with selectors.DefaultSelector() as ready:
            for peer in self._peers:
                ready.register(peer.connection, selectors.EVENT_READ, peer)
            beat = 0.0
            while self._at_work:
                if time.monotonic() >= beat:
                    self._tell(ALIVE)
                    beat = time.monotonic() + pause
                for key, _ in ready.select(pause):
                    why = key.data.read()
                    if why:
                        self._over(why, key.data)
                    elif key.data.done:
                        ready.unregister(key.fileobj)
                for peer in self._peers:
                    if peer.silent(self._seconds):
                        seconds = f'for {self._seconds:.0f} seconds'
                        why = f'{peer.name} has given no sign of life {seconds}'
                        self._over(why, peer)

    def _over(self, why, ended):
        for peer in self._peers:  # process 0 passes it on
            if peer is not ended:
                peer.send(_FAILED, why)
        with self._lock:
            if self._at_work:
                self._end(why)


def end_process(why: str) -> None:
    """Ends this process with one line, whatever its other threads wait for."""
    os.write(2, f'error: {why}\n'.encode())
    os._exit(1)
