"""Every workload of `scripts/benchmark.py`, on shapes that compile in seconds."""

import pytest
from imported import imported

SHAPE = (
    *('--d=16', '--layers=2', '--heads=2', '--ff=24', '--vocab=64', '--seq=16'),
    *('--pairs=2', '--prompt=8', '--response=4', '--new=4', '--batch=4'),
    *('--steps=1', '--iters=1', '--epochs=1', '--calls=1', '--warmup=1', '--rank=2'),
)
# as the peers' scripts print them
SPEED = {
    'reward': {'seconds_per_step', 'pairs_per_s', 'trainable'},
    'policy': {'seconds_per_iteration', 'episodes_per_s'},
    'generate': {'seconds_per_call', 'tokens_per_s', 'best_tokens_per_s'},
}


@pytest.fixture(scope='module')
def benchmark():
    return imported('scripts/benchmark.py')


@pytest.mark.parametrize('tuning', ['lora', 'full'])
@pytest.mark.parametrize('workload', SPEED)
def test_workloads(benchmark, workload, tuning):
    found = benchmark.measure([f'--workload={workload}', f'--tuning={tuning}', *SHAPE])
    assert found['workload'] == workload
    assert found['rank'] == (2 if tuning == 'lora' else 0)
    assert all(found[name] > 0 for name in SPEED[workload])
    assert found['peak_rss_mb'] > 0


def test_rank_0_is_full_tuning(benchmark):
    found = benchmark.measure(['--workload=reward', *SHAPE, '--rank=0'])
    full = benchmark.measure(['--workload=reward', *SHAPE, '--tuning=full'])
    assert found['system'] == full['system'] == 'perl full'
    assert found['trainable'] == full['trainable']


def test_loading_a_checkpoint(benchmark, tmp_path):
    found = benchmark.measure(['--workload=load', '--dtype=float16', *SHAPE])
    assert found['workload'] == 'load'
    assert found['peak_of_size'] > found['growth_of_size'] >= 0
    assert found['seconds'] > 0
    flags = ['--workload=checkpoint', f'--folder={tmp_path}', '--dtype=bfloat16']
    benchmark.measure([*flags, *SHAPE])
    assert (tmp_path / 'config.json').is_file()
    with pytest.raises(SystemExit):
        benchmark.measure(['--workload=checkpoint', *SHAPE])


def test_memory_of_arrays_that_are_never_made(benchmark):
    flags = ['--workload=reward', '--abstract', '--scan', '--remat', *SHAPE]
    assert benchmark.measure(flags)['step_gib'] >= 0
    with pytest.raises(SystemExit):
        benchmark.measure(['--workload=policy', '--abstract', *SHAPE])
