"""Eight virtual CPU devices, a persistent compilation cache, and the shared data."""

import ctypes
import fcntl
import gc
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# as `perl.sharding.devices` has it, for tests that make arrays before they make a mesh
os.environ.setdefault('JAX_CPU_ENABLE_ASYNC_DISPATCH', 'false')
# a `[S]` never meets a `[B, T]` by accident
os.environ.setdefault('JAX_NUMPY_RANK_PROMOTION', 'raise')
# nor an array of one dtype another one: a cast is written where it happens
os.environ.setdefault('JAX_NUMPY_DTYPE_PROMOTION', 'strict')
# no operation of a program notes the whole stack of calls that made it, which costs a
# twelfth of the suite
os.environ.setdefault('JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS', 'false')
# eight devices; and programs that compile fast, because most of the suite's time is the
# compilation of small programs that run once. A flag that is set already stays, so
# XLA_FLAGS='--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true'
# tests what users run
XLA = {
    'xla_force_host_platform_device_count': 8,
    'xla_backend_optimization_level': 0,
    'xla_cpu_use_fusion_emitters': 'false',
    'xla_cpu_parallel_codegen_split_count': 1,
}
given = os.environ.get('XLA_FLAGS', '')
added = [f'--{name}={value}' for name, value in XLA.items() if name not in given]
os.environ['XLA_FLAGS'] = ' '.join([given, *added]).strip()
os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR',
    os.path.join(tempfile.gettempdir(), f'perl-test-cache-{os.getuid()}'),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.03')

import jax  # noqa: E402
import pytest  # noqa: E402

MOST_BYTES = 2e9  # of a test process, above which its compiled programs are dropped


def pytest_collection_finish():
    """The modules that are imported by now live to the end: the garbage collector
    need not look at them, and may let more of what JAX traces pass between its runs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.fixture(autouse=True)
def bounded_memory():
    """Compiled programs are most of what a long test process holds."""
    yield
    if _resident_bytes() > MOST_BYTES:
        jax.clear_caches()
        gc.collect()
        # glibc keeps freed memory unless it is asked; other C libraries have no such
        # function
        getattr(ctypes.CDLL(None), 'malloc_trim', lambda pad: None)(0)


def _resident_bytes():
    status = pathlib.Path('/proc/self/statm')
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
    """The folder with the real data, beside the repository."""
    path = pathlib.Path(__file__).resolve().parents[2] / 'shared'
    if not path.is_dir():
        pytest.skip('the folder ../shared with the real data is not there')
    return path


@pytest.fixture(scope='session')
def finished(tmp_path_factory) -> pathlib.Path:
    """The folder of a small run that is finished, only to be read; see `small.py`.

    The processes of pytest-xdist share it: the first that needs it makes it.
    """
    import commands

    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    workdir, made = folder / 'finished' / 'run', folder / 'finished.made'
    with (folder / 'finished.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            ended = commands.launch(workdir, arg='pair', draw=True)
            assert ended.code == 0, ended
            made.touch()
    return workdir


@pytest.fixture(scope='session')
def smollm2(shared) -> pathlib.Path:
    """The GGUF file of SmolLM2-135M-Instruct, which is fetched once a machine."""
    script = shared / 'models' / 'get_smollm2'
    if not script.is_file():
        pytest.skip('there is no models/get_smollm2 in ../shared')
    ended = subprocess.run([script], capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f'SmolLM2 could not be fetched: {ended.stderr.strip()[-200:]}')
    return pathlib.Path(ended.stdout.splitlines()[-1])
