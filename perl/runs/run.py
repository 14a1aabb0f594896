"""What every stage of one run shares: config, folder, mesh, data, base."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from perl import config as configs
from perl import sharding
from perl.adapters import bundle, peft
from perl.adapters.tunings import Tuning
from perl.config import kinds, lineage
from perl.data import survey
from perl.data.chat import has_messages
from perl.data.examples import Examples, encode
from perl.data.records import Dataset, Record, fingerprint
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models import architecture, base_file, frozen_base, heads
from perl.models.architecture import Architecture
from perl.runs import roles
from perl.runs.roles import Role
from perl.system import environment, placement
from perl.system.errors import UserError, within
from perl.system.interrupt import Interrupt
from perl.system.suggest import near_miss
from perl.weights import abstract


@dataclasses.dataclass
class Run:
    """One experiment in one folder.

    Attributes:
        config: validated and locked.
        workdir: the run folder.
        mesh: of devices.
        dataset: all records.
        tokenizer: of every stage.
        arch: the decoder.
        base: frozen parameters on the mesh, or None before pretraining.
        base_id: their fingerprint.
        interrupt: whether somebody asked to stop.
    """

    config: Any
    workdir: pathlib.Path
    mesh: jax.sharding.Mesh
    dataset: Dataset
    tokenizer: Tokenizer
    arch: Architecture
    base: Any = None
    base_id: str = ''
    interrupt: Interrupt = dataclasses.field(default_factory=Interrupt)
    _recorded: bool = False

    def record_sitting(self) -> None:
        """Says in the run folder where and how this process computes, once."""
        if not self._recorded:
            environment.record(self.workdir)
            self._recorded = True

    @functools.cached_property
    def leaves(self) -> Any:
        """The declared parameters of the decoder."""
        return architecture.parameters(self.arch)

    def tuning(self, stage: str) -> Tuning:
        """How a stage tunes."""
        return configs.tuning(self.config[stage].tuning)

    def encoded(self, records: Sequence[Record | str], name: str = '') -> Examples:
        """Records or bare prompts in token ids, cut to the config's lengths; with a
        name, such as `sft/train`, what is cut or odd is printed in one line."""
        limits = self.config.lengths.prompt, self.config.lengths.response
        with within(name):
            data, counts = encode(records, self.tokenizer, *limits)
        if name and (words := survey.words({**counts, **survey.labels(records)})):
            print(f'{name}: {words}', flush=True)
        return data

    def data_fingerprint(self, kind: str, split: str) -> str:
        """The fingerprint of the records of a kind in a split, computed once."""
        if (kind, split) not in self._fingerprints:
            rows = self.dataset.of_kind(kind)[split]
            self._fingerprints[kind, split] = fingerprint(rows)
        return self._fingerprints[kind, split]

    @functools.cached_property
    def _fingerprints(self) -> dict[tuple[str, str], str]:
        return {}

    @property
    def multiple(self) -> int:
        """Row lengths are padded to multiples of this: few shapes, little padding."""
        limits = self.config.lengths
        return max(16, (limits.prompt + limits.response) // 128 * 16)

    @property
    def prompt_multiple(self) -> int:
        """The same for prompts to sample from: each shape compiles several programs."""
        return 2 * self.multiple

    def key(self, stage: str) -> jax.Array:
        """The random key (a scalar) of a stage: a function of seed and stage name."""
        key = jax.random.key(self.config.seed)
        for letter in stage.encode():
            key = jax.random.fold_in(key, letter)
        return key

    def use_base(self, params: Any) -> None:
        """Takes parameters as the frozen base of all that follows."""
        self.base_id = frozen_base.name(self.arch, base_file.fingerprint(params))
        self.base = self.place_base(params)

    def place_base(self, params: Any) -> Any:
        """Parameters on the mesh, in the compute dtype or as the base is stored."""
        return frozen_base.place(self.arch, params, self.mesh)

    def source(self, start: str) -> Role:
        """The base itself, what SFT made of it, an earlier reward model, or a folder.

        SFT in full makes a new base; SFT by adapter leaves the base as it is.
        """
        if start == 'base':
            return Role(self.base, self.base_id, {}, None)
        if start == 'sft':
            return self._sft
        known = start in configs.known_stages(self.config)
        return self.reward_role(start) if known else self.adapter(start)

    @functools.cached_property
    def _sft(self) -> Role:
        role = self.role('sft')
        if not role.tuning.replaces_base:
            return role
        return Role(
            self.place_base(role.delta), base_file.fingerprint(role.delta), {}, None
        )

    def role(self, stage: str) -> Role:
        """The policy that a stage of this run, or an adapter folder, holds; SFT's too.

        Raises:
            UserError: not there, damaged, of another base or tokenizer, or no policy.
        """
        role = self.adapter(stage, 'policy')
        if heads.HEAD in role.delta:
            raise roles.mistaken(stage, 'policy', 'has a scalar head')
        return role

    def reward_role(self, stage: str) -> Role:
        """The same, of a stage or folder that must hold a reward model."""
        role = self.adapter(stage, 'reward model')
        if heads.HEAD not in role.delta:
            raise roles.mistaken(stage, 'reward model', 'has no scalar head')
        return role

    def _product(self, stage: str) -> str:
        return kinds.PRODUCTS[lineage.makes(self.config, stage)]

    def adapter(self, stage: str, wanted: str = '') -> Role:
        """The role of a stage or of an adapter folder, ours or of PEFT.

        Raises:
            UserError: as `role` does, or a stage makes another thing than is wanted.
        """
        folder = pathlib.Path(stage)
        if stage in configs.known_stages(self.config):
            folder = self.workdir / stage / 'adapter'
            if self._product(stage) != (wanted or self._product(stage)):
                raise roles.mistaken(stage, wanted, f'makes a {self._product(stage)}')
            if not bundle.exists(folder):
                mend = lineage.how_to_run(self.config, stage)
                raise UserError(f'{stage}: {folder} has no adapter yet; {mend}')
        elif not folder.is_dir():
            hint = near_miss(stage, map(str, self.config.stages))
            raise UserError(f'{stage!r} is neither a stage nor a folder{hint}')
        elif peft.is_peft(folder):
            return roles.imported(folder, self.arch, self.base, self.base_id)
        delta, card = bundle.load(folder, tokenizer=self.tokenizer.fingerprint)
        base = {}
        if not card.tuning.replaces_base:
            base = self._base_of(card, folder)
        role = Role(base, card.base, delta, card.tuning, card.shift, card.scale)
        declared = roles.declared(role, self.leaves, self.arch.width)
        if _shapes(abstract(declared)) != _shapes(delta):
            raise UserError(
                f'adapter: the arrays in {folder} are not those that its adapter.json '
                'and this model call for; train or copy it again'
            )
        return self.place(role)

    def _base_of(self, card: bundle.Card, folder: pathlib.Path) -> Any:
        if card.base == self.base_id:
            return self.base
        known = card.role != 'sft' and 'sft' in configs.known_stages(self.config)
        if known and bundle.exists(self.workdir / 'sft' / 'adapter'):
            sft = self.source('sft')
            if card.base == sft.base_id:
                return sft.base
        raise UserError(
            f'adapter: {folder} was trained on the base {card.base}, this run has '
            f'{self.base_id}; give the base it was trained on, or train it again'
        )

    def place(self, role: Role) -> Role:
        """The role with its delta on the mesh."""
        declared = roles.declared(role, self.leaves, self.arch.width)
        placed = placement.put(role.delta, sharding.shardings(declared, self.mesh))
        return dataclasses.replace(role, delta=placed)

    def save_role(self, stage: str, role: Role, name: str = '') -> None:
        """Writes a stage's adapter bundle, or that of another role it trained."""
        folder = self.workdir / stage / (name or 'adapter')
        kind = name or self.config[stage].kind
        chat = has_messages(self.dataset)
        card = roles.card(role, kind, self.tokenizer.fingerprint, chat)
        bundle.save(folder, role.delta, card)

    def begin(self, stage: str) -> Role:
        """The role that a stage trains, as its config wants it started."""
        start = self.config[stage].start
        source = self.source(start)
        if heads.HEAD in source.delta and self._product(stage) != 'reward model':
            raise roles.mistaken(start, 'policy', 'has a scalar head')
        kind, key = self.tuning(stage), self.key(f'{stage}/init')
        return roles.begin(key, kind, source, self.leaves, stage)


def _shapes(tree):
    return jax.tree.structure(tree), [x.shape for x in jax.tree.leaves(tree)]
