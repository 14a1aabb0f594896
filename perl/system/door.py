"""Where the processes of a run connect with process 0."""

import contextlib
import secrets
import socket
import time

from perl.system.watch import ALIVE, LONGEST, Peer

_CONNECTING = 10.0  # seconds to wait for an address, or for a name


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
                name = _introduced(connection, self.token)
                if name is None:  # somebody else has found the port
                    connection.close()
                    continue
                connection.settimeout(seconds)
                peers.append(Peer(connection, name))
                peers[-1].send(ALIVE)
        return peers


def _introduced(connection, token):
    """The name of a process that knows the token, which it sends first."""
    connection.settimeout(_CONNECTING)
    try:
        with connection.makefile('rb') as lines:
            said, _, name = lines.readline(LONGEST).strip().partition(b' ')
    except OSError:
        return None
    known = secrets.compare_digest(said, token.encode())
    return name.decode(errors='replace') if known else None


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
