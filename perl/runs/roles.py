"""Roles of RLHF: what each sits on, what it adds, and how one begins from another."""

import dataclasses
import pathlib
from typing import Any

import jax

from perl.adapters import bundle, peft, tree
from perl.adapters.network import Network
from perl.adapters.rescaling import rescaled
from perl.adapters.tunings import Tuning
from perl.models import base_file, heads
from perl.models.architecture import Architecture
from perl.system.errors import UserError
from perl.weights import abstract


@dataclasses.dataclass(frozen=True)
class Role:
    """A delta over a base; several roles hold the very same base arrays.

    Attributes:
        base: frozen parameters; empty where the delta holds them all.
        base_id: fingerprint of the base it belongs to.
        delta: what is, or was, trained.
        tuning: how; None where the delta is empty.
        shift, scale: of reported rewards, `(raw - shift) / scale`.
    """

    base: Any
    base_id: str
    delta: Any
    tuning: Tuning | None
    shift: float = 0.0
    scale: float = 1.0

    @property
    def label(self) -> str:
        """A short name of the tuning for tables; `none` where nothing is tuned."""
        return 'none' if self.tuning is None else self.tuning.label

    @property
    def network(self) -> Network:
        """Its arrays, as a jitted function takes them."""
        return Network(self.base, self.delta)

    def bound(self) -> Any:
        """The tree that the model reads."""
        return self.network.bound()


def begin(key: jax.Array, kind: Tuning, source: Role, leaves: Any, where: str) -> Role:
    """A trainable role that computes what `source` computes.

    Its delta has the shapes that `kind` declares for the model, and the scalar head of
    the source, if there is one: `kernel [D]` and `bias`, a scalar.

    Args:
        key: a random key, consumed.
        kind: how the new role is tuned.
        source: the base itself, or the role to go on from.
        leaves: the model's tree of `Leaf`.
        where: the stage, for errors.

    Raises:
        UserError: the source's adapter is of another shape than the new tuning; its
            dropout may be another.
    """
    if kind.replaces_base:
        if source.tuning is not None and source.tuning.replaces_base:
            delta = jax.tree.map(lambda x: x.copy(), source.delta)
        else:
            plain = tree.merge(source.base, without_head(source.delta))
            delta = kind.init(key, plain, leaves)
            if heads.HEAD in source.delta:
                head = source.delta[heads.HEAD]
                delta[heads.HEAD] = jax.tree.map(lambda x: x.copy(), head)
        return Role({}, source.base_id, delta, kind)
    if not source.delta:
        delta = kind.init(key, source.base, leaves)
        return Role(source.base, source.base_id, delta, kind)
    delta = fitting(source.delta, source.tuning, kind, leaves, where)
    role = copied(dataclasses.replace(source, delta=delta), kind.dropout)
    return dataclasses.replace(role, tuning=kind, shift=0.0, scale=1.0)


def fitting(
    delta: Any, tuning: Tuning | None, kind: Tuning, leaves: Any, where: str
) -> Any:
    """A delta with the scales of another tuning, which goes on from it.

    Raises:
        UserError: it is of another shape than the new tuning; see `begin`.
    """
    delta = rescaled(delta, tuning, kind, leaves)
    if tuning is None or not (tuning.alike(kind) or _like(delta, kind, leaves)):
        raise UserError(
            f'{where}.tuning: goes on from an adapter of {tuning}, but asks for '
            f'{kind}; make the two alike, or set {where}.start to base'
        )
    return delta


def _like(delta, kind, leaves):
    """Whether a tuning makes the same leaves with the same scales, even if its rules
    have other names."""
    own = tree.with_dropout(without_head(delta), kind.dropout)
    wanted = abstract(kind.declare(leaves))
    shapes = [[x.shape for x in jax.tree.leaves(y)] for y in (own, wanted)]
    return jax.tree.structure(own) == jax.tree.structure(wanted) and (
        shapes[0] == shapes[1]
    )


def imported(folder: pathlib.Path, arch: Architecture, base: Any, base_id: str) -> Role:
    """The role of an adapter in the format of PEFT, on a base that it must fit.

    Raises:
        UserError: it does not, or is of a kind that is not read.
    """
    read = peft.read(folder, arch)
    return Role(base, base_id, read.delta, read.tuning, read.shift, read.scale)


def mistaken(stage: str, wanted: str, why: str) -> UserError:
    """The error for a stage or folder that does not hold the wanted kind of role."""
    return UserError(
        f'{stage}: it {why}, so it is not a {wanted}; name a stage that makes one, or '
        'the adapter folder of one'
    )


def copied(role: Role, dropout: float) -> Role:
    """The role on buffers of its own, to be trained with `dropout` on its adapters."""
    delta = jax.tree.map(lambda x: x.copy(), tree.with_dropout(role.delta, dropout))
    return dataclasses.replace(
        role, delta=delta, tuning=role.tuning.with_dropout(dropout)
    )


def normalised(role: Role) -> Role:
    """The role with its shift and scale folded into its head, so that the output of the
    model is the reported reward."""
    head = role.delta[heads.HEAD]
    kernel = head['kernel'] / role.scale
    bias = (head['bias'] - role.shift) / role.scale
    delta = {**role.delta, heads.HEAD: {'kernel': kernel, 'bias': bias}}
    return dataclasses.replace(role, delta=delta, shift=0.0, scale=1.0)


def with_head(key: jax.Array, role: Role, width: int) -> Role:
    """The role with a scalar head: its own if it has one, else a fresh one."""
    if heads.HEAD in role.delta:
        return role
    head = heads.init_head(key, width)
    return dataclasses.replace(role, delta={**role.delta, heads.HEAD: head})


def without_head(delta: Any) -> Any:
    """The delta without its scalar head."""
    return {name: part for name, part in delta.items() if name != heads.HEAD}


def declared(role: Role, leaves: Any, width: int) -> Any:
    """The tree of `Leaf` of the role's delta, for placing it on a mesh."""
    delta = {} if role.tuning is None else role.tuning.declare(leaves)
    if heads.HEAD in role.delta:
        delta = {**delta, heads.HEAD: heads.head_leaves(width)}
    return delta


def card(role: Role, name: str, tokenizer: str, chat: bool = False) -> bundle.Card:
    """The bundle card of a trained role; `chat` where it was trained on messages."""
    return bundle.Card(
        role=name,
        tuning=role.tuning,
        base=role.base_id,
        tokenizer=tokenizer,
        shift=role.shift,
        scale=role.scale,
        chat=chat,
    )


def identity(role: Role) -> str:
    """Fingerprints of a role's base and of what was trained on it."""
    leaves = jax.tree_util.tree_leaves_with_path(role.delta)
    delta = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return f'{role.base_id}+{base_file.fingerprint(delta)}' if delta else role.base_id
