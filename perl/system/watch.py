"""Notices that a process of a run has ended, so that the others do not wait for it.

A collective operation with a process that is gone waits for minutes or forever. So
every process holds a connection to process 0. The operating system closes it when a
process ends in any way; where a machine or the network fails, the signs of life stop. A
thread of each process then says which process has ended, and ends its own.
"""

import contextlib
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable

_BEATS = 6  # signs of life in the time after which silence is an end
_ALIVE, _DONE, _FAILED = b'alive', b'done', b'failed'
_LONGEST = 1000  # bytes of a message
_CONNECTING = 10.0  # seconds to wait for an address


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
        line = word + b' ' + ' '.join(text.split()).encode()[:_LONGEST] + b'\n'
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
                    self._tell(_ALIVE)
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


class Door:
    """Where process 0 waits for the others.

    Attributes:
        port: on all addresses of this machine.
        token: what a process must know to be let in, in hexadecimal digits.
    """

    def __init__(self):
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        self._socket = socket.create_server(
            ('', 0), family=family, dualstack_ipv6=dual, backlog=4096
        )
        self.port, self.token = self._socket.getsockname()[1], secrets.token_hex(16)

    def admit(self, count: int, seconds: float) -> list[Peer]:
        """Waits for `count` others.

        Raises:
            OSError: they did not come within so many seconds.
        """
        peers, until = [], time.monotonic() + seconds
        with self._socket:
            while len(peers) < count:
                self._socket.settimeout(max(0.1, until - time.monotonic()))
                connection, _ = self._socket.accept()
                connection.settimeout(seconds)
                with connection.makefile('r', encoding='utf-8') as lines:
                    token, _, name = lines.readline(_LONGEST).strip().partition(' ')
                if secrets.compare_digest(token, self.token):
                    peers.append(Peer(connection, name))
                    peers[-1].send(_ALIVE)
                else:
                    connection.close()
        return peers


def enter(
    addresses: list[str], port: int, token: str, names: tuple[str, str], seconds: float
) -> Peer:
    """The connection to process 0.

    Args:
        addresses: of its machine, of which the first that answers is taken.
        port, token: of its `Door`.
        names: of this process and of process 0.
        seconds: to wait for an answer.

    Raises:
        OSError: none of them can be reached.
    """
    for address in addresses:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((address, port), _CONNECTING)
            connection.settimeout(seconds)
            connection.sendall(f'{token} {names[0]}\n'.encode())
            if connection.recv(1):  # else it is another door than that of this run
                return Peer(connection, names[1])
            connection.close()
    raise OSError(f'{names[1]} cannot be reached at {", ".join(addresses)} port {port}')


def end_process(why: str) -> None:
    """Ends this process with one line, whatever its other threads wait for."""
    os.write(2, f'error: {why}\n'.encode())
    os._exit(1)
