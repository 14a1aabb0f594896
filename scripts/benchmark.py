"""Speed and memory on random weights, one JSON line last.

    python scripts/benchmark.py --workload=reward --tuning=lora --rank=8
    python scripts/benchmark.py --workload=policy --batch=16 --prompt=128 --response=48
    python scripts/benchmark.py --workload=generate --prompt=128 --new=128
    python scripts/benchmark.py --workload=load --dtype=float16 --d=2048 --layers=16 ...
    python scripts/benchmark.py --workload=reward --abstract --d=2048 --layers=28 ...

`--devices=2` cuts the CPU in two devices with half of each batch: two threads that
wait for nobody, where XLA runs many small operations on one.

`--abstract` compiles the step for arrays that are never made and prints what it needs:
a 2B model fits on a laptop that way, and so do `--tuning=qlora` and every other tuning.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags; the shape's defaults are those of the peers' scripts."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--workload', default='reward')
    flags.add_argument('--tuning', default='lora', help='a name of docs/tunings.md')
    flags.add_argument('--quantization', default='none', help='of the frozen base')
    flags.add_argument('--dtype', default='float32', help='of compute and base')
    for name, value in {
        'rank': 8, 'd': 256, 'layers': 4, 'heads': 4, 'kv_heads': 0, 'ff': 688,
        'vocab': 4096, 'seq': 256, 'pairs': 8, 'shared': 0, 'prompt': 128,
        'response': 48, 'new': 128, 'batch': 16, 'epochs': 4, 'steps': 20, 'iters': 8,
        'calls': 12, 'warmup': 3, 'threads': 0, 'devices': 1,
    }.items():  # fmt: skip
        flags.add_argument(f'--{name}', type=int, default=value)
    flags.add_argument('--folder', default='', help='of load and checkpoint')
    flags.add_argument('--temperature', type=float, default=1.0)
    for name in ('scan', 'remat', 'abstract'):
        flags.add_argument(f'--{name}', action='store_true')
    args = flags.parse_args(argv)
    if args.workload not in WORKLOADS:
        flags.error(f'--workload must be one of {", ".join(WORKLOADS)}')
    if args.workload == 'checkpoint' and not args.folder:
        flags.error('--workload=checkpoint needs --folder')
    if args.abstract and args.workload != 'reward':
        flags.error('--abstract is of --workload=reward')
    if not args.rank and args.workload != 'generate':  # as the peers' scripts have it
        args.tuning = 'full'
    return args


def reward(args) -> dict:
    """Reward training on comparisons: seconds a step and pairs a second.

    `--shared=P` makes the first P tokens of both completions their common prompt,
    which is encoded once.
    """
    import jax

    from perl import sharding
    from perl.models import frozen_base, heads
    from perl.stages import reward as stage

    arch, base, delta = model(args)
    plan = stage.plan(arch, experiment(args), 'reward')
    update = plan.update()
    batch = arrays_or_shapes(args, lambda: comparisons(args))
    if args.abstract:
        state, frozen, _ = plan.abstract()
        memory = compiled(update, state, frozen, batch)
        return {**memory, 'trainable': plan.parameter_count()}
    head = heads.init_head(jax.random.key(3), arch.width)
    state = plan.init({**delta, heads.HEAD: head})
    mesh = sharding.make_mesh(data=args.devices)
    base = {} if args.tuning == 'full' else frozen_base.place(arch, base, mesh)
    state = jax.device_put(state, sharding.replicated(mesh))
    batch = sharding.shard_batch(batch, mesh)
    times = []
    with jax.set_mesh(mesh):
        for _ in range(args.warmup + args.steps):
            began = time.perf_counter()
            state, metrics = update(state, base, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter() - began)
    seconds = statistics.median(times[args.warmup :])
    return {
        'seconds_per_step': round(seconds, 4),
        'pairs_per_s': round(args.pairs / seconds, 2),
        'step_mb': round(update.peak_bytes / 2**20),
        'trainable': plan.parameter_count(),
        'first_step_s': round(times[0], 2),
    }


def policy(args) -> dict:
    """PPO iterations: rollout, scoring, epochs of updates of policy and value."""
    import pathlib
    import tempfile

    import jax
    import numpy as np

    from perl import sharding
    from perl.data.records import Dataset
    from perl.judges import Judge, panel
    from perl.models import heads
    from perl.runs.roles import Role
    from perl.runs.run import Run
    from perl.stages.policy import stage

    arch, base, delta = model(args)
    rng = np.random.default_rng(0)
    prompts = rng.integers(10, args.vocab - 2, (args.batch * 4, args.prompt - 1))
    texts = {'train': [' '.join(map(str, row)) for row in prompts]}
    config = experiment(args)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            config,
            pathlib.Path(folder),
            sharding.make_mesh(data=args.devices),
            Dataset('random', prompts=texts),
            Numbers(args.vocab),
            arch,
        )
        run.use_base(base)
        head = heads.init_head(jax.random.key(3), arch.width)
        kind = run.tuning('policy')
        judge = Role(run.base, run.base_id, {**delta, 'head': head}, kind)
        reward = Judge('reward', None, panel=panel.build([judge]))
        roles = stage.assemble(run, 'policy')
        trainer, state = stage.prepare(run, 'policy', roles, reward)
        times, phases = [], []
        with jax.set_mesh(run.mesh):
            for i in range(args.iters):
                began = time.perf_counter()
                state, row = trainer.iterate(state, i)
                jax.block_until_ready(state)
                times.append(time.perf_counter() - began)
                phases.append({k: v for k, v in row.items() if k.startswith('seconds')})
    warm = min(2, args.iters - 1)
    seconds = statistics.median(times[warm:])
    median = {k: statistics.median(p[k] for p in phases[warm:]) for k in phases[0]}
    return {
        'seconds_per_iteration': round(seconds, 3),
        'episodes_per_s': round(args.batch / seconds, 2),
        'step_mb': round(trainer.update.peak_bytes / 2**20),
        'first_iteration_s': round(times[0], 2),
        **{name: round(x, 3) for name, x in median.items()},
    }


def generate(args) -> dict:
    """Sampling with a cache, the prompt pass included: new tokens a second."""
    import jax
    import numpy as np

    from perl import sharding
    from perl.adapters import tree
    from perl.models import frozen_base
    from perl.rollout import sampler
    from perl.rollout.choosing import Sampling

    arch, base, delta = model(args)
    delta = {} if not args.rank else delta
    sampling = Sampling(args.new, None, args.temperature)

    @jax.jit
    def play(base, delta, prompts, lengths, key):
        params = tree.bind(base, delta)
        return sampler.sample(arch, params, prompts, lengths, key, sampling)

    rng = np.random.default_rng(0)
    mesh = sharding.make_mesh(data=args.devices)
    base = frozen_base.place(arch, base, mesh)
    delta = jax.device_put(delta, sharding.replicated(mesh))
    lengths = np.full(args.batch, args.prompt, np.int32)
    times = []
    with jax.set_mesh(mesh):
        for i in range(args.warmup + args.calls):
            prompts = rng.integers(10, args.vocab - 2, (args.batch, args.prompt))
            began = time.perf_counter()
            rows = sharding.shard_batch((prompts.astype(np.int32), lengths), mesh)
            out = play(base, delta, *rows, jax.random.key(i))
            jax.block_until_ready(out)
            times.append(time.perf_counter() - began)
    seconds, n = statistics.median(times[args.warmup :]), args.batch * args.new
    return {
        'seconds_per_call': round(seconds, 4),
        'tokens_per_s': round(n / seconds, 1),
        'best_tokens_per_s': round(n / min(times[args.warmup :]), 1),
        'first_call_s': round(times[0], 2),
    }


def load(args) -> dict:
    """A base read onto a mesh: the largest host memory of a process that does nothing
    else, and the seconds.

    `peak_of_size` is that memory by the size of the checkpoint, Python and JAX
    included; `growth_of_size` leaves out what the process had before it began. Without
    `--folder` the checkpoint is a random Llama of the flags' shape. It is written and
    read in processes of their own, so that one does not add to the peak of the other.
    """
    import subprocess
    import tempfile

    if args.folder:
        return read_timed(args)
    with tempfile.TemporaryDirectory() as folder:
        for workload in ('checkpoint', 'load'):
            flags = {**vars(args), 'workload': workload, 'folder': folder}
            switches = ('scan', 'remat', 'abstract')
            given = [f'--{k}={x}' for k, x in flags.items() if k not in switches]
            command = [sys.executable, __file__, *given]
            ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def checkpoint(args) -> dict:
    """Writes a Llama with random weights, of the flags' shape, in several files."""
    import jax
    import numpy as np

    from perl.models.files import Tensor, write_checkpoint

    width, head = args.d, args.d // args.heads
    keys = (args.kv_heads or args.heads) * head
    layer = {
        'self_attn.q_proj': (args.heads * head, width),
        'self_attn.k_proj': (keys, width),
        'self_attn.v_proj': (keys, width),
        'self_attn.o_proj': (width, args.heads * head),
        'mlp.gate_proj': (args.ff, width),
        'mlp.up_proj': (args.ff, width),
        'mlp.down_proj': (width, args.ff),
        'input_layernorm': (width,),
        'post_attention_layernorm': (width,),
    }
    shapes = {'model.embed_tokens': (args.vocab, width), 'model.norm': (width,)}
    for i in range(args.layers):
        shapes |= {f'model.layers.{i}.{name}': own for name, own in layer.items()}
    rng = np.random.default_rng(0)
    dtype = jax.numpy.dtype(args.dtype)
    kind = np.dtype(f'uint{8 * dtype.itemsize}').type
    one = np.ones((), dtype).view(kind)

    def draw(shape):  # the last bits of 1: no array of another dtype on the way
        return (rng.integers(0, 2**7, shape, kind) | one).view(dtype)

    tensors = {
        f'{name}.weight': Tensor(own, dtype, lambda own=own: draw(own))
        for name, own in shapes.items()
    }
    config = {
        'model_type': 'llama',
        'vocab_size': args.vocab,
        'hidden_size': width,
        'intermediate_size': args.ff,
        'num_hidden_layers': args.layers,
        'num_attention_heads': args.heads,
        'num_key_value_heads': args.kv_heads or args.heads,
        'head_dim': head,
        'max_position_embeddings': 4096,
        'rms_norm_eps': 1e-5,
        'rope_theta': 10000.0,
        'hidden_act': 'silu',
        'tie_word_embeddings': True,
    }
    write_checkpoint(args.folder, config, tensors, shard_bytes=2**28)
    return {'checkpoint_mb': round(sum(x.nbytes for x in tensors.values()) / 2**20)}


def read_timed(args) -> dict:
    """The figures of `load` of a folder, in this process."""
    import jax

    from perl import sharding
    from perl.models import bases, store
    from perl.models.files import open_checkpoint

    mesh = sharding.make_mesh(data=args.devices)
    arch = store.changed(bases.describe(args.folder), dtype=args.dtype)
    tensors = open_checkpoint(args.folder).tensors
    size = sum(x.nbytes for x in tensors.values())
    before, began = peak_bytes(), time.perf_counter()
    params, _ = bases.load(
        args.folder, arch, lambda _, leaf, x: sharding.place(leaf, x, mesh, args.dtype)
    )
    jax.block_until_ready(params)
    seconds, peak = time.perf_counter() - began, peak_bytes()
    return {
        'checkpoint_mb': round(size / 2**20),
        'peak_of_size': round(peak / size, 3),
        'growth_of_size': round((peak - before) / size, 3),
        'seconds': round(seconds, 2),
    }


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


WORKLOADS = {
    'reward': reward,
    'policy': policy,
    'generate': generate,
    'load': load,
    'checkpoint': checkpoint,
}


class Numbers:
    """A tokenizer whose text is the ids in decimal; eos is outside of what is drawn,
    so responses have their full length in nearly every row, as the peers' have."""

    def __init__(self, size: int):
        self.size, self.pad, self.bos, self.eos = size, 0, 1, size - 1
        self.fingerprint = 'numbers'

    def encode(self, text: str, start: bool = False) -> list[int]:
        """The ids that the text names."""
        del start
        return [int(word) for word in text.split()]

    def decode(self, ids) -> str:
        """The ids in decimal."""
        return ' '.join(map(str, ids))

    def unknown(self, text: str, ids) -> int:
        """0: every number below the size is an id."""
        del text, ids
        return 0


def experiment(args):
    """The config of the stages that are timed."""
    from perl import config as configs

    config = configs.experiment('benchmark')
    config.lengths.update(prompt=args.prompt, response=args.response)
    tuning = configs.tuning_config(args.tuning, max(args.rank, 1))
    config.reward = configs.stage_config(
        'reward',
        1e-4,
        tuning=tuning,
        optimizer=configs.optimizer_config(1e-4, schedule='constant', warmup=0, clip=0),
        batch_size=args.pairs,
        share_prompts=bool(args.shared),
    )
    config.policy = configs.policy_config(
        1e-5,
        tuning=tuning,
        start='base',
        value_start='base',
        batch_size=args.batch,
        epochs=args.epochs,
        minibatches=1,
        temperature=0.7,
    )
    config.stages = ('policy',)
    return config


def model(args):
    """Architecture, base and delta; abstract if the flags say so."""
    import jax

    from perl import config as configs
    from perl.models import architecture

    kind = configs.tuning(configs.tuning_config(args.tuning, max(args.rank, 1)))
    stored = args.quantization if args.quantization != 'none' else kind.quantization
    arch = architecture.Architecture(
        vocabulary=args.vocab,
        width=args.d,
        layers=args.layers,
        heads=args.heads,
        kv_heads=args.kv_heads or args.heads,
        head_width=args.d // args.heads,
        hidden=args.ff,
        max_length=4096,
        dtype=args.dtype,
        quantization=stored or 'none',
        scan=args.scan,
        remat=args.remat,
    )
    leaves = architecture.parameters(arch)
    base = arrays_or_shapes(
        args, lambda: architecture.init(jax.random.key(0), arch, args.dtype)
    )
    delta = arrays_or_shapes(
        args, lambda b: kind.init(jax.random.key(1), b, leaves), base
    )
    return arch, base, delta


def arrays_or_shapes(args, function, *inputs):
    """The function's result, or only its shapes."""
    import jax

    if not args.abstract:
        return function(*inputs)
    return jax.eval_shape(function, *inputs)


def comparisons(args):
    """A batch of comparisons of random tokens, as `perl.stages.reward` takes it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from perl.data import batching
    from perl.data.examples import Examples

    rng = np.random.default_rng(0)
    draw = lambda n: rng.integers(10, args.vocab, n).astype(np.int32)  # noqa: E731
    shared = args.shared or 1
    data = Examples(
        [draw(shared) for _ in range(args.pairs)],
        [tuple(draw(args.seq - shared) for _ in 'ab') for _ in range(args.pairs)],
        np.ones(args.pairs, np.float32),
    )
    layout = 'shared' if args.shared else 'apart'
    batch = batching.collate(data, range(args.pairs), layout, multiple=16)
    labels = batch.pop('labels')
    batch = {k: x.reshape(args.pairs, -1, *x.shape[1:]) for k, x in batch.items()}
    return jax.tree.map(jnp.asarray, {**batch, 'labels': labels})


def compiled(update, *inputs) -> dict:
    """What a step of these shapes needs, by the compiler's account."""
    program = update.lower(*inputs).compile()
    memory = program.memory_analysis()
    from perl.training.compiled import program_bytes

    gib = 2**30
    return {
        'step_gib': round(program_bytes(program) / gib, 3),
        'arguments_gib': round(memory.argument_size_in_bytes / gib, 3),
        'temporary_gib': round(memory.temp_size_in_bytes / gib, 3),
    }


def measure(argv: list[str] | None = None) -> dict:
    """What the peers' scripts print, of ours."""
    args = parse(argv)
    if args.threads:  # XLA sizes its CPU thread pool by the affinity mask
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)
    if args.devices > 1:  # read when jax is first imported, which is later
        count = f'--xla_force_host_platform_device_count={args.devices}'
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {count}'
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
    figures = WORKLOADS[args.workload](args)
    full = args.tuning == 'full'
    return {
        'system': 'perl full' if full else 'perl',
        'workload': args.workload,
        'rank': 0 if full else args.rank,
        'devices': args.devices,
        'peak_rss_mb': round(peak_bytes() / 2**20),
        **figures,
    }


if __name__ == '__main__':
    print(json.dumps(measure()))
