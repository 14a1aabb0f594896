"""Iterations of a policy: seconds, episodes a second, and the seconds of each phase."""

import argparse
import pathlib
import statistics
import tempfile
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks import clock, target
from benchmarks.shape import experiment, model
from perl import sharding
from perl.data.records import Dataset
from perl.judges import Judge, panel
from perl.models import heads
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.policy import programs, stage
from perl.stages.policy.plan import plan


def measure(args: argparse.Namespace) -> dict:
    """Iterations: rollout, scoring, epochs of updates, by PPO with a value model, or by
    RLOO where `--samples` is more than 1."""
    return on_paper(args) if args.abstract else timed(args)


def on_paper(args: argparse.Namespace) -> dict:
    """What the programs of an iteration need of the memory of a device: policy and
    value with an adapter each, the reward model with its own, and the base as their
    reference, all over one base."""
    arch, _, _ = model(args)
    mesh, config = target.mesh(args), experiment(args)
    update = plan(arch, config, 'policy')
    with jax.set_mesh(mesh):
        found = programs.lowered(update, arch, config, 'policy', mesh)
        lowered = {name: program.lowered for name, program in found.items()}
        memory = target.account(update, lowered, mesh)
    return {**memory, 'trainable': update.parameter_count()}


def timed(args: argparse.Namespace) -> dict:
    """The seconds of the iterations, and of their phases."""
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
        # `use_base` would hash it on the host
        run.base_id, run.base = 'random', run.place_base(base)
        head = heads.init_head(jax.random.key(3), arch.width)
        kind = run.tuning('policy')
        judge = Role(run.base, run.base_id, {**delta, 'head': head}, kind)
        reward = Judge('reward', None, panel=panel.build([judge]))
        roles = stage.assemble(run, 'policy')
        trainer, state = stage.prepare(run, 'policy', roles, reward)
        phases = []

        def call(i):
            nonlocal state
            state, row = trainer.iterate(state, i)
            phases.append({k: v for k, v in row.items() if k.startswith('seconds')})
            return state

        with jax.set_mesh(run.mesh):
            times, where = clock.timed(args, call, args.iters)
    warm = slice(min(2, args.iters - 1), args.iters)
    seconds = statistics.median(times[warm])
    median = {k: statistics.median(p[k] for p in phases[warm]) for k in phases[0]}
    return {
        'seconds_per_iteration': round(seconds, 3),
        'episodes_per_s': round(args.batch / seconds, 2),
        'step_mb': round(trainer.update.peak_bytes / 2**20),
        'first_iteration_s': round(times[0], 2),
        **{name: round(x, 3) for name, x in median.items()},
        **where,
    }


class Numbers:
    """A tokenizer whose text is the ids in decimal; eos is outside of what is drawn,
    so responses have their full length in nearly every row, as the peers' have."""

    def __init__(self, size: int):
        self.size, self.pad, self.bos, self.eos = size, 0, 1, size - 1
        self.adds_bos, self.fingerprint = True, 'numbers'

    def encode(self, text: str, start: bool = False) -> list[int]:
        """The ids that the text names."""
        del start
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """The ids in decimal."""
        return ' '.join(map(str, ids))

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        """0: every number below the size is an id."""
        del text, ids
        return 0
