"""What stands beside the workloads of `scripts/benchmark.py`: profiles, turns with a
peer, pictures, and the script for a GPU."""

import json
import pathlib
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from imported import imported

ROOT = pathlib.Path(__file__).resolve().parents[1]
benchmark = imported('scripts/benchmark.py')  # and `benchmarks` can be imported

from benchmarks import ceiling, hlo, peers, profiles, shape  # noqa: E402

from perl import sharding  # noqa: E402
from perl.models import frozen_base  # noqa: E402

# as a program with a dot, in a fusion, under one file of the package, is written
PROGRAM = """HloModule jit_step, is_scheduled=true

FileNames
1 "/home/x/perl/perl/models/mlp.py"
2 "/home/x/perl/perl/weights/product.py"
3 "/home/x/perl/perl/models/attention/plain.py"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1 end_line=1 column=1 end_column=1}
2 {file_name_id=2 function_name_id=1 line=1 end_line=1 column=1 end_column=1}
3 {file_name_id=3 function_name_id=1 line=1 end_line=1 column=1 end_column=1}

StackFrames
1 {file_location_id=1 ROOT}
2 {file_location_id=2 parent_frame_id=FIRST}
3 {file_location_id=3 parent_frame_id=FIRST}

%inner (param_0: f32[4,4]) -> f32[4,4] {
  %param_0 = f32[4,4]{1,0} parameter(0)
  ROOT %dot.1 = f32[4,4]{1,0} dot(%param_0, %param_0), metadata={stack_frame_id=2}
}

ENTRY %main (x.1: f32[4,4]) -> f32[4,4] {
  %x.1 = f32[4,4]{1,0} parameter(0), metadata={op_name="x"}
  %fusion.1 = f32[4,4]{1,0} fusion(%x.1), kind=kCustom, calls=%inner
  %sine.1 = f32[4,4]{1,0} sine(%fusion.1), metadata={stack_frame_id=3}
  %exp.1 = f32[4,4]{1,0} exponential(%sine.1), metadata={stack_frame_id=1}
  %pair = (f32[4,4]{1,0}, s32[]) while(%exp.1), condition=%c, body=%b
  %gemm.1 = f32[4,4]{1,0} custom-call(%exp.1), custom_call_target="__cublas$gemm"
  %sum.1 = f32[4,4]{1,0} all-reduce(%gemm.1), to_apply=%add
  ROOT %transpose.1 = f32[4,4]{0,1} transpose(%sum.1), dimensions={1,0}
}
"""
# XLA writes a parent as its number, or as the number after it
NUMBERINGS = [('', '1'), ('parent_frame_id=1', '2')]

PEER = """
import argparse, json, pathlib
flags = argparse.ArgumentParser()
for name in ('d', 'rank', 'threads', 'seq', 'pairs', 'steps'):
    flags.add_argument(f'--{name}', type=int)
args = flags.parse_args()
log = pathlib.Path(__file__).with_suffix('.log')
log.open('a').write(json.dumps(vars(args)) + chr(10))
print('warming up')
print(json.dumps({'seconds_per_step': float(len(log.read_text().splitlines()))}))
"""


@pytest.mark.parametrize(('root', 'first'), NUMBERINGS)
def test_the_operations_of_a_program(root, first):
    found = hlo.parsed(PROGRAM.replace('ROOT}', root + '}').replace('FIRST', first))
    assert found['fusion.1'] == (hlo.PRODUCT, 'models/mlp')
    assert found['sine.1'] == (hlo.ATTENTION, 'models/attention/plain')
    assert found['exp.1'] == (hlo.ELEMENTWISE, 'models/mlp')
    assert found['pair'].kind == ''
    assert found['gemm.1'] == (hlo.PRODUCT, '')
    assert found['sum.1'].kind == hlo.COLLECTIVE
    assert found['transpose.1'].kind == hlo.MOVED


@pytest.mark.parametrize(
    ('kernel', 'kind'),
    [
        ('sm90_xmma_gemm_bf16', hlo.PRODUCT),
        ('cudnn_generated_fort_native_sdpa_flash_fprop', hlo.ATTENTION),
        ('ncclDevKernel_AllReduce', hlo.COLLECTIVE),
        ('MemcpyD2D', hlo.MOVED),
        ('loop_multiply_fusion_3', hlo.ELEMENTWISE),
        ('what_is_this', hlo.OTHER),
    ],
)
def test_kernels_of_which_only_the_name_is_known(kernel, kind):
    assert hlo.kind_of_kernel(kernel) == kind


def test_a_profile_adds_up(capsys):
    step = jax.jit(lambda x: jnp.sin(x @ x).T.copy())
    x = jnp.ones((256, 256))
    jax.block_until_ready(step(x))
    found = profiles.shares(lambda: step(x))
    assert found['seconds'] > 0 and 0 < found['busy'] <= 1
    assert sum(found['kinds'].values()) == pytest.approx(1, abs=0.01)
    assert {hlo.PRODUCT, hlo.ELEMENTWISE} <= found['kinds'].keys()
    assert hlo.PRODUCT in capsys.readouterr().err


def test_ceilings():
    found = ceiling.measure(benchmark.parse(['--workload=ceiling']))
    assert found['gemm_tflops'] > 0 and found['copy_gb_per_s'] > 0


def test_random_parameters_are_drawn_in_their_dtype():
    """No array of float32 is made on the way, and none is copied to be placed."""
    arch = shape.architecture_of(
        benchmark.parse(['--d=64', '--ff=96', '--vocab=128', '--dtype=bfloat16'])
    )
    leaves = shape.flatten(shape.architecture.parameters(arch))
    leaf = leaves['layers/mlp/up']
    made = shape.drawn(leaf, 'bfloat16').trace(jax.random.key(0)).lower().as_text()
    assert f'tensor<{arch.layers}x64x96xbf16>' in made
    assert 'x64x96xf32>' not in made
    base = shape.random_base(arch)
    placed = frozen_base.place(arch, base, sharding.make_mesh())
    kernel = base['layers']['mlp']['up']
    assert kernel.dtype == 'bfloat16'
    assert float(kernel.astype('float32').std()) == pytest.approx(leaf.std, rel=0.05)
    assert (
        placed['layers']['mlp']['up'].unsafe_buffer_pointer()
        == kernel.unsafe_buffer_pointer()
    )


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A command that stands in for a peer, and for us."""
    file = tmp_path / 'peer.py'
    file.write_text(PEER)
    ours = tmp_path / 'ours.py'
    ours.write_text('print(\'{"seconds_per_step": 1.0}\')')
    monkeypatch.setattr(peers, 'COMMAND', ours)
    return shlex.join([sys.executable, str(file)])


def test_turns_with_a_peer(peer, tmp_path):
    flags = ['--workload=reward', '--rank=0', '--pairs=2', '--threads=1', '--scan']
    found = benchmark.measure([*flags, '--peer', peer, '--turns=3'])
    assert found['peer_seconds_per_step'] == 2  # of 1, 2, 3
    assert found['times_as_fast'] == 2
    assert len(found['ours']) == len(found['peer']) == 3
    asked = json.loads((tmp_path / 'peer.log').read_text().splitlines()[0])
    assert asked == {
        **{'d': 256, 'rank': 0, 'threads': 1, 'seq': 256, 'pairs': 2, 'steps': 20}
    }


@pytest.mark.parametrize(
    'flag', ['--kv_heads=2', '--dtype=bfloat16', '--shared=8', '--tuning=dora']
)
def test_a_peer_that_cannot_do_the_same(peer, flag):
    with pytest.raises(SystemExit, match=flag):
        benchmark.measure(['--workload=reward', f'--peer={peer}', flag])


def test_a_peer_that_fails(peer, tmp_path):
    with pytest.raises(SystemExit, match='--peer'):
        benchmark.measure(['--workload=reward', f'--peer={tmp_path}/nothing'])
    with pytest.raises(SystemExit):
        benchmark.measure(['--workload=dpo', f'--peer={peer}'])
    (tmp_path / 'peer.py').write_text('print("no row")')
    with pytest.raises(SystemExit, match='no JSON'):
        benchmark.measure(['--workload=reward', f'--peer={peer}'])


def test_a_picture(tmp_path):
    row = {'gemm_share': 0.5, 'copy_share': 0.2}
    (tmp_path / 'a.json').write_text(json.dumps(row))
    with_profile = {**row, 'profile': {'kinds': {'attention': 0.4, 'other': 0.6}}}
    (tmp_path / 'b.json').write_text(json.dumps(with_profile))
    found = benchmark.measure([f'--plot={tmp_path}'])
    assert found['rows'] == 2
    assert pathlib.Path(found['plot']).read_bytes().startswith(b'\x89PNG')
    with pytest.raises(SystemExit):
        benchmark.measure([f'--plot={tmp_path / "none"}'])


class TestScriptForAGpu:
    """Run with a Python that only writes down what it is asked."""

    @pytest.fixture
    def run(self, tmp_path):
        def run(fails='nothing', **environment):
            python = tmp_path / 'python'
            python.write_text(
                f'#!/bin/bash\necho "$@" >>{tmp_path}/calls\n'
                f'[[ "$*" == *{fails}* ]] && exit 3\n'
                'echo a line before; echo \'{"seconds": 1}\'\n'
            )
            python.chmod(0o755)
            command = ['bash', ROOT / 'scripts' / 'benchmark_gpu.sh', tmp_path / 'rows']
            variables = {'PATH': '/usr/bin:/bin', 'PYTHON': str(python), **environment}
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True
            )
            calls = (tmp_path / 'calls').read_text().splitlines()
            rows = (tmp_path / 'rows' / 'rows.jsonl').read_text().splitlines()
            return (
                done,
                [*map(shlex.split, calls)],
                {json.loads(row)['part'] for row in rows},
            )

        return run

    @pytest.mark.parametrize('scale', ['full', 'tiny'])
    def test_every_part_asks_for_flags_that_there_are(self, run, scale, monkeypatch):
        done, calls, rows = run(SCALE=scale)
        assert done.returncode == 0, done.stdout
        assert len(calls) == len(rows) == 11
        for script, *flags in calls:
            if script == 'scripts/benchmark.py':
                assert (benchmark.parse(flags).d == 16) == (scale == 'tiny')
            else:
                monkeypatch.setattr(sys, 'argv', [script, *flags])
                assert imported(script).parse().rank == 8

    def test_it_fits_twelve_minutes(self):
        text = (ROOT / 'scripts' / 'benchmark_gpu.sh').read_text()
        lines = [
            x.split() for x in text.splitlines() if x.startswith(('  ours', '  peft'))
        ]
        assert len(lines) == 11
        assert sum(int(words[2]) for words in lines) <= 12 * 60

    def test_parts_that_fail(self, run):
        """The others run, and so does the part that stands in for the first."""
        done, calls, rows = run(fails='--seq=4096')
        assert done.returncode == 1
        assert 'reward: failed' in done.stdout
        assert 'failed: reward reward_remat peft_reward' in done.stderr
        assert '--remat' not in calls[1] and '--remat' in calls[2]
        assert len(rows) == 9

    def test_parts_by_name(self, run):
        done, calls, rows = run(PARTS='ppo profile', SCALE='tiny')
        assert done.returncode == 0
        assert rows == {'ppo', 'profile'}
        assert ['--profile' in call for call in calls] == [False, True]
