"""How the processes of a run find each other."""

import contextlib
import json
import os
import socket
import sys
import threading

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from perl.system import hosts, leaving, watch
from perl.system.door import Door, enter
from perl.system.errors import UserError

AUTO = 'auto'
_SPARE = 3600  # seconds that JAX waits longer than this module, whose errors are clear
_CARD = 1024  # bytes of what process 0 says of itself


def define_flags() -> None:
    """The flags of a command that several processes can run together."""
    flags.DEFINE_string(
        'coordinator',
        '',
        'of several processes: HOST:PORT of process 0, or auto in a TPU pod or Slurm',
    )
    flags.DEFINE_integer('processes', None, 'how many processes compute the run')
    flags.DEFINE_integer('process', None, 'the number of this process, from 0')
    flags.DEFINE_float(
        'start_timeout', 300, 'seconds to wait for the other processes', 1
    )
    flags.DEFINE_float(
        'host_timeout', 60, 'seconds of silence after which a process counts as lost', 1
    )


def join_by_flags() -> None:
    """As `join`, with the values of the flags."""
    values = flags.FLAGS
    join(
        values.coordinator,
        values.processes,
        values.process,
        values.start_timeout,
        values.host_timeout,
    )


def join(
    coordinator: str,
    processes: int | None = None,
    process: int | None = None,
    start_timeout: float = 300,
    host_timeout: float = 60,
) -> None:
    """Makes this process one of several; call it before JAX computes anything.

    Args:
        coordinator: HOST:PORT where process 0 can be reached; `auto` where JAX can find
            it, and the numbers, by the cluster (TPU pods, Slurm, Open MPI, Kubernetes);
            '' for a process that is alone.
        processes: how many there are; None with `auto`.
        process: the number of this one, from 0; None with `auto`.
        start_timeout: seconds to wait for the others.
        host_timeout: seconds without a sign of life after which a process counts as
            lost, and the others end.

    Raises:
        UserError: the values contradict each other, or the cluster tells nothing.
    """
    check(coordinator, processes, process)
    if not coordinator:
        return
    # set before the first device is requested, as `perl.sharding.devices` does
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    # it would take SIGTERM; the processes agree on a stop by `hosts.agreed`
    jax.config.update('jax_enable_preemption_service', False)
    auto = coordinator == AUTO
    with _patience(coordinator, process, start_timeout):
        _initialize(
            coordinator,
            coordinator_address=None if auto else coordinator,
            num_processes=processes,
            process_id=process,
            cluster_detection_method=None if auto else 'deactivate',
            initialization_timeout=int(start_timeout) + _SPARE,
            heartbeat_timeout_seconds=int(host_timeout) + _SPARE,
            shutdown_timeout_seconds=int(start_timeout),
        )
        _check_devices()
        _begin_watch('' if auto else coordinator, start_timeout, host_timeout)
    if not hosts.is_first():
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115


def check(coordinator: str, processes: int | None, process: int | None) -> None:
    """Raises a `UserError` where arguments of `join` contradict each other."""
    numbers = {'--processes': processes, '--process': process}
    given = [name for name, x in numbers.items() if x is not None]
    if coordinator in ('', AUTO):
        if given:
            why = 'finds it' if coordinator else 'is not given'
            raise UserError(
                f'{" and ".join(given)}: goes with --coordinator=HOST:PORT, and '
                f'--coordinator{"=auto" if coordinator else ""} {why}; remove one'
            )
        return
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f'--coordinator={coordinator}: give HOST:PORT of process 0, or auto'
        )
    if len(given) < 2:
        raise UserError(
            f'--coordinator={coordinator}: give --processes=N and --process=I too'
        )
    if not 0 <= process < processes:
        raise UserError(
            f'--process={process}: with --processes={processes} the processes have '
            f'the numbers from 0 to {processes - 1}'
        )


def _initialize(coordinator, **options):
    try:
        jax.distributed.initialize(**options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f'--coordinator={coordinator}: {" ".join(str(error).split())[:200]}; give '
            '--coordinator=HOST:PORT --processes=N --process=I'
        ) from None


@contextlib.contextmanager
def _patience(coordinator, process, seconds):
    """A context that must end within so many seconds. JAX ends the process itself when
    it has waited in vain, without a line that a person can read."""
    if process:
        what = f'process 0 cannot be reached at {coordinator}, or others have not come'
    else:
        what = 'the other processes have not come'
    line = (
        f'hosts: {what} within --start_timeout={seconds:g} seconds; start the same '
        'command in every process, and see that the address and its port can be '
        'reached from all of them'
    )
    timer = threading.Timer(seconds, watch.end_process, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_devices():
    counts = np.bincount([x.process_index for x in jax.devices()])
    if counts.min() < counts.max():
        raise UserError(
            f'hosts: the processes have {counts.tolist()} devices; give all of them '
            'the same number'
        )


def _begin_watch(coordinator, start_timeout, host_timeout):
    """Connects the processes with process 0."""
    if hosts.is_first():
        door = Door()
        host = coordinator.rpartition(':')[0].strip('[]')
        addresses = [host] if host else _addresses()
        card = door.port, door.token, leaving.own_name(), addresses
        sent = json.dumps(card).encode().ljust(_CARD)[:_CARD]
    else:
        sent = bytes(_CARD)
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(sent, np.uint8))
    port, token, name, addresses = json.loads(np.asarray(sent).tobytes())
    if hosts.is_first():
        peers = door.admit(jax.process_count() - 1, start_timeout)
    else:
        names = leaving.own_name(), name
        try:
            peers = [enter(addresses, port, token, names, start_timeout)]
        except OSError as error:
            raise UserError(
                f'hosts: {error}; let all hosts connect to each other on all ports'
            ) from None
    leaving.begin(peers, host_timeout)


def _addresses():
    """Where others may reach this machine: its name, and the addresses of that name."""
    name = socket.gethostname()
    found = set()
    with contextlib.suppress(OSError):
        found = {x[4][0] for x in socket.getaddrinfo(name, None)}
    return [name, *sorted(found)[:8]]  # which fit on the card
