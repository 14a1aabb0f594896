"""Where processes connect with process 0."""

import queue
import socket
import threading

import pytest

from perl.system.door import Door, enter

LONG = 60.0  # seconds; no test waits so long unless it fails


def test_door():
    door, admitted = Door(), queue.Queue()
    waiting = threading.Thread(target=lambda: admitted.put(door.admit(1, LONG)))
    waiting.start()
    names = 'process 1', 'process 0'
    with pytest.raises(OSError, match='process 0 cannot be reached at 127'):
        enter(['127.0.0.1'], door.port, 'another token', names, LONG)
    inside = enter(['127.0.0.1'], door.port, door.token, names, LONG)
    (peer,) = admitted.get(timeout=LONG)
    waiting.join()
    assert (peer.name, inside.name) == names
    peer.send(b'failed', 'as it is')
    while not (why := inside.read()):
        pass
    assert why == 'as it is'
    for end in (peer, inside):
        end.connection.close()


def test_door_does_not_wait_forever():
    with pytest.raises(TimeoutError):
        Door().admit(1, 0.2)


@pytest.mark.parametrize('noise', [b'\x16\x03\x01\xff\xfe\n', 'hé x\n'.encode(), b''])
def test_a_stranger_at_the_door_does_no_harm(noise):
    """Such as a scanner of ports."""
    door = Door()
    with socket.create_connection(('127.0.0.1', door.port)) as stranger:
        stranger.sendall(noise)
        stranger.shutdown(socket.SHUT_WR)
        admitted = queue.Queue()
        threading.Thread(target=lambda: admitted.put(door.admit(1, LONG))).start()
        names = 'process 1', 'process 0'
        other = enter(['127.0.0.1'], door.port, door.token, names, LONG)
        (peer,) = admitted.get(timeout=LONG)
        assert peer.name == 'process 1' and other.name == 'process 0'
        for end in (peer, other):
            end.connection.close()
