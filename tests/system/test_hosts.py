"""In a process that is alone; `tests/test_hosts_runs.py` has two of them."""

import numpy as np

from perl.system import hosts


def test_alone():
    done = []
    hosts.first(lambda: done.append(1))
    hosts.wait()
    hosts.check_same({'config': 'any'})
    assert done == [1]
    assert hosts.is_first() and not hosts.together()
    assert hosts.name() == 'process 0 of 1'


def test_agreement_of_one():
    for answer in (True, False):
        assert hosts.agreed(answer) is hosts.as_first(answer) is answer


def test_function_of_the_first():
    lengths = hosts.of_first(lambda *texts: np.array([len(x) for x in texts[-1]]))
    assert lengths(['a', 'b'], ['', 'cde']).tolist() == [0, 3]
