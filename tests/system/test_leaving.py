"""How a process ends; `tests/test_hosts_runs.py` has two of them."""

import subprocess
import sys

import pytest

from perl.system import leaving

ABORTS = """
import ctypes, threading, time
from perl.system import leaving, watch
leaving._delay_aborts()
threading.Thread(target=lambda: time.sleep(0.5) or watch.end_process('why')).start()
ctypes.CDLL(None).abort()  # without Python's lock, as the threads of JAX
"""


@pytest.mark.parametrize('end', [SystemExit(2), SystemExit(), ValueError('why')])
def test_a_process_that_is_alone_ends_as_ever(end):
    with pytest.raises(type(end)) as raised, leaving.together():
        leaving.failed('why')
        raise end
    assert raised.value is end


def test_an_abort_leaves_time_to_say_why():
    ended = subprocess.run(
        [sys.executable, '-c', ABORTS], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, 'error: why\n')
