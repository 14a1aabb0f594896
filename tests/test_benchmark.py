"""Every workload of `scripts/benchmark.py`, on shapes that compile in seconds."""

import functools
import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest
from imported import imported

ROOT = pathlib.Path(__file__).resolve().parents[1]

SHAPE = (
    *('--d=16', '--layers=2', '--heads=2', '--ff=24', '--vocab=64', '--seq=16'),
    *('--pairs=2', '--prompt=8', '--response=4', '--new=4', '--batch=4'),
    *('--steps=1', '--iters=1', '--epochs=1', '--calls=1', '--warmup=1', '--rank=2'),
)
# as the peers' scripts print them
SPEED = {
    'reward': {'seconds_per_step', 'pairs_per_s', 'trainable'},
    'dpo': {'seconds_per_step', 'pairs_per_s', 'trainable'},
    'score': {'seconds_per_pass', 'responses_per_s'},
    'policy': {'seconds_per_iteration', 'episodes_per_s'},
    'generate': {'seconds_per_call', 'tokens_per_s', 'best_tokens_per_s'},
}


@pytest.fixture(scope='module')
def benchmark():
    return imported('scripts/benchmark.py')


@pytest.fixture(scope='module')
def measured(benchmark):
    """The figures of a workload and a tuning, measured once."""

    @functools.cache
    def figures(workload, tuning):
        flags = [f'--workload={workload}', f'--tuning={tuning}']
        traced = ['--profile'] if tuning == 'lora' else []
        return benchmark.measure([*flags, *traced, *SHAPE])

    return figures


@pytest.mark.parametrize('tuning', ['lora', 'full'])
@pytest.mark.parametrize('workload', SPEED)
def test_workloads(measured, workload, tuning):
    found = measured(workload, tuning)
    assert found['workload'] == workload
    assert found['rank'] == (2 if tuning == 'lora' else 0)
    assert all(found[name] > 0 for name in SPEED[workload])
    assert found['peak_rss_mb'] > 0 and found['flags']['d'] == 16
    assert found['flops_per_step'] > 0 and found['gemm_tflops'] > 0
    assert ('copy_share' in found) == (workload == 'generate')
    assert ('profile' in found) == (tuning == 'lora')
    if tuning == 'lora':
        kinds = found['profile']['kinds']
        assert kinds['matrix products'] > 0 and kinds['attention'] > 0
        assert 'models/mlp' in found['profile']['parts']


def test_refilled_slots_beside_batches_that_wait(benchmark):
    flags = ['--workload=generate', '--prompts=8', '--samples=2', '--mean=3']
    found = benchmark.measure([*flags, *SHAPE])
    assert 1 < found['tokens_per_response'] < 4
    for name in SPEED['generate']:
        assert found[name] > 0 and found[f'waiting_{name}'] > 0
    with pytest.raises(SystemExit):
        benchmark.measure(['--workload=generate', '--prompts=7', *SHAPE])


def test_rank_0_is_full_tuning(benchmark, measured):
    found = benchmark.measure(['--workload=reward', *SHAPE, '--rank=0'])
    full = measured('reward', 'full')
    assert found['system'] == full['system'] == 'perl full'
    assert found['trainable'] == full['trainable']


def test_shapes_of_known_models(benchmark):
    args = benchmark.parse(['--shape=llama3-8b', '--layers=2'])
    assert (args.d, args.kv_heads, args.layers) == (4096, 8, 2)
    assert benchmark.parse([]).ff == 688


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


@pytest.mark.parametrize('kind', ['nf4', 'int4'])
def test_loading_a_checkpoint_into_few_bits(benchmark, kind):
    flags = ['--workload=load', '--dtype=float16', f'--quantization={kind}', *SHAPE]
    found = benchmark.measure(flags)
    assert found['peak_of_size'] > found['growth_of_size'] >= 0


@pytest.mark.parametrize(
    ('workload', 'names'),
    [
        ('reward', ['update']),
        ('dpo', ['update']),
        ('policy', ['rollout', 'score', 'update']),
    ],
)
def test_memory_of_arrays_that_are_never_made(benchmark, workload, names):
    flags = [f'--workload={workload}', '--abstract', '--scan', '--remat', *SHAPE]
    found = benchmark.measure(
        [*flags, '--seq=256', '--d=64', '--batch=64', '--pairs=64']
    )
    stays = sum(found[f'{name}_gib'] for name in ('frozen', 'trainable', 'optimizer'))
    assert [*found['programs']] == names
    for sizes in found['programs'].values():
        own = sizes['temporary_gib'] + sizes['outputs_gib']
        assert own > 0
        assert sizes['total_gib'] == pytest.approx(stays + own, abs=0.004)


def test_roles_share_one_base(benchmark):
    """So four of them stay in little more memory than one."""
    shape = [*SHAPE, '--abstract', '--scan', '--layers=16', '--d=256', '--ff=1024']
    one, four = (
        benchmark.measure([f'--workload={x}', *shape])['frozen_gib']
        for x in ('reward', 'policy')
    )
    assert one <= four < 1.1 * one


@pytest.mark.parametrize(
    'flags',
    [
        ['--workload=generate', '--abstract'],
        ['--target=h100'],
        ['--abstract', '--target=v5e'],
        ['--abstract', '--target=h100x0'],
        ['--abstract', '--mesh=2'],
    ],
    ids=str,
)
def test_what_cannot_be_compiled_for_no_array(benchmark, flags):
    with pytest.raises(SystemExit):
        benchmark.measure([*flags, *SHAPE])


@pytest.mark.parametrize('target', ['h100', 'a100', 'h100x4', 'a100x16', 'v5p:2x2x1'])
def test_targets(benchmark, target):
    flags = ['--abstract', f'--target={target}', '--mesh=1,4,1']
    args = benchmark.parse(flags)
    assert args.target == target
    gpu = target[1:4] == '100'
    assert ('XLA_FLAGS' in benchmark.environment(args)) == gpu


@pytest.mark.skipif(not importlib.util.find_spec('libtpu'), reason='needs libtpu')
def test_a_tpu_that_is_not_there():
    """Compiles for it, with a fused kernel for each device of the mesh."""
    flags = ['--workload=reward', '--abstract', '--target=v5e:2x2', '--mesh=1,2,2']
    command = [sys.executable, ROOT / 'scripts' / 'benchmark.py', *flags, *SHAPE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['programs']['update']['fused_kernels'] > 0


@pytest.mark.parametrize('workload', ['reward', 'dpo', 'score'])
def test_completions_of_one_prompt(benchmark, workload):
    """Behind one copy of it, and apart: the same work but for the prompt."""
    flags = [f'--workload={workload}', *SHAPE, '--samples=2', '--shared=8']
    for layout in ([], ['--apart']):
        found = benchmark.measure([*flags, *layout])
        assert next(found[name] for name in found if name.endswith('per_s')) > 0


def test_a_policy_with_several_responses_to_a_prompt(benchmark):
    flags = ['--workload=policy', *SHAPE, '--samples=2']
    assert benchmark.measure(flags)['episodes_per_s'] > 0
