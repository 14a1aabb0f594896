"""Reward models of a run by name, alone or in ensembles, and the ensembles' files."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from perl import config as configs
from perl import sharding
from perl.config import lineage
from perl.data import batching
from perl.data.by_prompt import by_prompt
from perl.data.examples import Examples, encode_responses
from perl.data.ordering import once
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.judges import panel
from perl.judges.mixture import fresh
from perl.judges.panel import Panel
from perl.judges.reward import Reward, Texts
from perl.models import store
from perl.runs import ensembles, prerequisites
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import placement
from perl.system.errors import UserError

Encode = Callable[[Texts, Texts, Tokenizer, int, int], Examples]


def load_panel(run: Run, name: str) -> Panel:
    """The reward model or the ensemble of a name; one reward model is a panel of one.

    Args:
        run: with its base.
        name: a stage of kind reward, average or ensemble, the folder of an ensemble, or
            an adapter folder.

    Raises:
        UserError: it is not there, damaged, no reward model, or of another base.
    """
    folder = _folder(run, name)
    if folder is None:
        return panel.build([run.reward_role(name)])
    card, gate = ensembles.read(folder, name)
    in_run = folder.parent == run.workdir
    places = (
        card['of'] if in_run else [folder.parent / x / 'adapter' for x in card['of']]
    )
    numbers = card['shift'], card['scale']
    models = members(run, places)
    loaded = panel.build(models, card['combine'], card['deviations'], gate, *numbers)
    count = len(card['of'])
    if gate and _shapes(gate) != _shapes(fresh(run.arch, card['combine'], count)):
        raise UserError(
            f'{name}: the gate in {folder} is not one of {count} members of width '
            f'{run.arch.width}; train or copy it again'
        )
    return loaded


def load(run: Run, name: str) -> Role | Panel:
    """As `load_panel`, but one reward model as its role, whose rewards are raw."""
    if _folder(run, name) is None:
        return run.reward_role(name)
    return load_panel(run, name)


def on_texts(
    run: Run, members: Panel, name: str, encode: Encode = encode_responses
) -> Reward:
    """A panel as a `Reward` of texts, which are encoded and cut as in training.

    A prompt of several responses is encoded once for as many as make that less work.

    Args:
        run: with tokenizer, architecture and mesh.
        members: the reward models.
        name: of the panel, for errors.
        encode: makes examples of n prompts and responses, given the tokenizer and the
            most tokens of a prompt and of a response.

    Raises:
        UserError: when the reward is called: a reward is not a finite number.
    """
    limits = run.config.lengths

    def reward(prompts: Texts, responses: Texts) -> np.ndarray:
        data = encode(prompts, responses, run.tokenizer, limits.prompt, limits.response)
        rewards = np.zeros(len(data))
        for examples, places in by_prompt(data, run.arch.width):
            rewards[places] = _rewards(run, members, examples)
        check_finite(rewards, name)
        return rewards

    return reward


def _rewards(run, members, data):
    """Rewards `[n, K]` of n examples with K completions each."""
    count = len(data.completions[0])
    rewards = np.zeros((len(data), count))
    size = max(run.config.evaluation.batch_size // count, 1)
    # few sizes, since each is compiled, and equal prompts differ from call to call
    size = sharding.batch_rows(size, batching.bucket(len(data), 1, steps=2), run.mesh)
    layout = 'apart' if count == 1 else 'shared'
    for rows, new in once(data, size):
        batch = batching.collate(data, rows, layout, run.multiple)
        names = ('tokens', 'positions', 'segments', 'ends')
        batch = sharding.shard_batch({x: batch[x] for x in names}, run.mesh)
        scored = placement.fetch(_scorer(run.arch)(members, batch))
        rewards[rows[:new]] = scored[:new]
    return rewards


def check_finite(rewards: np.ndarray, name: str) -> None:
    """Raises a `UserError` where a reward `[n]` of a reward model is not finite."""
    if not np.isfinite(rewards).all():
        raise UserError(
            f'{name}: the reward model gives a reward that is not a finite number; '
            'train it again with a lower learning rate'
        )


def exists(run: Run, stage: str) -> bool:
    """Whether a stage has left a whole base, adapter or ensemble."""
    if lineage.makes(run.config, stage) == 'base':
        return (run.workdir / stage / 'base' / store.CARD).is_file()
    return prerequisites.is_made(run.workdir, stage)


def finished(run: Run, product: str) -> list[str]:
    """The stages whose products are there, in the config's order.

    Args:
        run: what all stages share.
        product: what `lineage.makes` says of them: sft, reward or policy.
    """
    return [
        name
        for name in run.config.stages
        if lineage.makes(run.config, name) == product and exists(run, name)
    ]


def members(run: Run, names: Sequence[str | pathlib.Path]) -> list[Role]:
    """The reward models of these stages or folders."""
    return [run.reward_role(str(name)) for name in names]


def _folder(run, name):
    """The folder of an ensemble, or None for what has an adapter of its own."""
    if name not in configs.known_stages(run.config):
        return (
            pathlib.Path(name)
            if (pathlib.Path(name) / ensembles.CARD).is_file()
            else None
        )
    if 'combine' not in run.config[name]:
        return None
    folder = run.workdir / name
    if not (folder / ensembles.CARD).is_file():
        raise UserError(
            f'{name}: {folder} has no ensemble yet; '
            f'{lineage.how_to_run(run.config, name)}'
        )
    return folder


def _shapes(gate):
    return {name: x.shape for name, x in gate.items()}


@functools.cache
def _scorer(arch):
    return jax.jit(functools.partial(panel.rewards, arch))
