"""The operations that `scripts/benchmark.py` says a workload has."""

import functools

import jax
import pytest
from imported import imported

from perl import sharding
from perl.rollout import sampler
from perl.rollout.choosing import Sampling
from perl.stages import dpo, reward
from perl.stages.policy import plan, programs

# wide enough that kernels are nearly all of it; nothing is compiled, no array is made
WIDE = (
    *('--d=1024', '--layers=2', '--heads=8', '--ff=2816', '--vocab=256', '--seq=128'),
    *('--pairs=4', '--abstract', '--attention=plain'),
)
imported('scripts/benchmark.py')  # so that `benchmarks` can be imported

from benchmarks import flags, flops  # noqa: E402
from benchmarks.shape import architecture_of, experiment, model  # noqa: E402


def arguments(*given):
    return flags.parse([*WIDE, *given], '')


def counted(lowered):
    """XLA's count before it optimises; it takes a loop for one turn of it."""
    return lowered.cost_analysis()['flops']


def test_one_pass_by_hand():
    args = flags.parse(['--d=4', '--layers=2', '--heads=2', '--ff=6', '--vocab=10'], '')
    arch = architecture_of(args)
    # keys and values 2 x 4 x 4; queries and output 2 x 4 x 4, MLP 3 x 4 x 6
    assert flops.layer_parameters(arch) == (32, 104)
    row = flops.Pass(tokens=10, seen=55, read=2, logits=3)
    # the last layer computes 2 of 10 tokens: 2 x 10 x (2 x 32 + 1.2 x 104),
    # queries x keys and weights x values 2 x 2 x 4 x 55 x 1.2, logits 2 x 4 x 10 x 3
    assert row.flops(arch) == pytest.approx(3776 + 1056 + 240)


def test_rows_by_hand():
    row = flops.packed(3, 2, 2)
    # prompt 1 + 2 + 3; the tokens of each completion see 4 and 5
    assert (row.tokens, row.seen) == (7, 6 + 2 * (4 + 5))
    shared = flops.completions(arguments('--shared=96'), 2, read=1)
    assert (shared.tokens, shared.read) == (4 * (96 + 2 * 32), 8)
    apart = flops.completions(arguments('--shared=96', '--apart'), 2, read=1)
    assert (apart.tokens, apart.read) == (4 * 2 * 128, 8)
    assert apart.seen == 8 * 128 * 129 / 2


@pytest.mark.parametrize('tuning', ['lora', 'full'])
@pytest.mark.parametrize('layout', [[], ['--shared=96']], ids=['apart', 'shared'])
def test_a_reward_step_as_xla_counts_it(tuning, layout):
    args = arguments(f'--tuning={tuning}', '--rank=1', *layout)
    check_step(args, reward, flops.completions(args, 2, 1))


@pytest.mark.parametrize('tuning', ['lora', 'full'])
def test_a_dpo_step_as_xla_counts_it(tuning):
    args = arguments('--workload=dpo', f'--tuning={tuning}', '--rank=1', '--shared=96')
    check_step(args, dpo, flops.completions(args, 2, 32, 32))


def check_step(args, stage, rows):
    from benchmarks import dpo as dpo_batch
    from benchmarks import reward as reward_batch

    arch, _, _ = model(args)
    batches = dpo_batch if stage is dpo else reward_batch
    batch = jax.eval_shape(functools.partial(batches.comparisons, args))
    step = stage.plan(arch, experiment(args), args.workload)
    state, frozen, _ = step.abstract()
    found = counted(step.update().lower(state, frozen, batch))
    expected = flops.of(args, arch) - needless(args, arch, rows.tokens)
    assert found == pytest.approx(expected, rel=0.04)


def needless(args, arch, tokens):
    """The gradient of the first layer's input, which LoRA does not need."""
    if args.tuning == 'full':
        return 0
    return 2 * tokens * (arch.width**2 + flops.layer_parameters(arch)[0])


def test_sampling_as_xla_counts_it():
    args = arguments('--prompt=64', '--new=2', '--batch=8', '--samples=2')
    arch, base, _ = model(args)
    run = functools.partial(sampler.sample, arch, sampling=Sampling(2, None), samples=2)
    shapes = (
        *(jax.ShapeDtypeStruct(shape, 'int32') for shape in ((4, 64), (4,))),
        jax.eval_shape(lambda: jax.random.key(0)),
    )
    found = counted(jax.jit(run).lower(base, *shapes[:2], key=shapes[2]))
    assert found == pytest.approx(flops.sampled(args, 4, 2, arch), rel=0.04)


def test_an_iteration_as_xla_counts_it():
    """With two tokens, sampling has one turn of its loop."""
    given = ('--prompt=126', '--response=2', '--batch=4', '--minibatches=2')
    args = arguments('--workload=policy', '--rank=1', *given)
    arch, config, mesh = model(args)[0], experiment(args), sharding.make_mesh()
    with jax.set_mesh(mesh):
        update = plan.plan(arch, config, 'policy')
        found = programs.lowered(update, arch, config, 'policy', mesh)
    times = {'rollout': 1, 'score': 1, 'update': 2 * args.epochs}
    total = sum(times[name] * counted(x.lowered) for name, x in found.items())
    # in the updates of policy and value
    spared = 2 * args.epochs * needless(args, arch, 4 * 128)
    assert total == pytest.approx(flops.of(args, arch) - spared, rel=0.04)
