"""What the flags of several processes may say."""

import pytest

from perl.system import joining
from perl.system.errors import UserError

WRONG = {
    ('', 2, 0): '--processes and --process: goes with --coordinator=HOST:PORT',
    ('auto', 2, None): '--processes: goes with --coordinator=HOST:PORT',
    ('somewhere', 2, 0): '--coordinator=somewhere: give HOST:PORT',
    (':80', 2, 0): '--coordinator=:80: give HOST:PORT',
    ('here:port', 2, 0): '--coordinator=here:port: give HOST:PORT',
    ('here:70000', 2, 0): '--coordinator=here:70000: give HOST:PORT',
    ('here:80', 2, None): 'give --processes=N and --process=I too',
    ('here:80', None, 1): 'give --processes=N and --process=I too',
    ('here:80', 2, 2): '--process=2: with --processes=2',
    ('here:80', 2, -1): '--process=-1: with --processes=2',
}


@pytest.mark.parametrize(('values', 'error'), WRONG.items())
def test_contradictions(values, error):
    with pytest.raises(UserError) as raised:
        joining.check(*values)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    'values', [('', None, None), ('auto', None, None), ('[::1]:80', 2, 1)]
)
def test_what_goes_together(values):
    joining.check(*values)


def test_alone_nothing_is_joined():
    joining.join('')


def test_cluster_that_tells_nothing(monkeypatch):
    for name in ('JAX_COORDINATOR_ADDRESS', 'SLURM_JOB_ID', 'KUBERNETES_SERVICE_HOST'):
        monkeypatch.delenv(name, raising=False)

    def initialize(**options):
        raise ValueError('coordinator_address should be defined.')

    monkeypatch.setattr('jax.distributed.initialize', initialize)
    with pytest.raises(UserError, match='--coordinator=auto: coordinator_address sho'):
        joining.join('auto')
