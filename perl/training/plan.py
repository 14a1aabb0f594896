"""A stage's training step on paper: everything but the arrays.

Training fills a plan with arrays; `--check` reads its bytes off a mesh that need not
exist; a benchmark times it. So one value says what the step of a stage is.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from perl import sharding
from perl.training.compiled import Compiled
from perl.training.step import Average, Loss, init, step
from perl.weights import Leaf, is_leaf


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one training step of a stage computes.

    A tree on paper has a `Leaf` or a `jax.ShapeDtypeStruct` in place of every array.

    Attributes:
        loss: `(trainable, frozen, batch, key) -> sum, (count, {name: (sum, count)})`.
        trainable: float32, on paper.
        frozen: what the loss reads and no update changes, on paper; a `Leaf` is a
            parameter of the base, in `frozen_dtype` unless it has a dtype of its own.
        batch: of one step, on paper.
        optimizer: over the trainable tree.
        frozen_dtype: of a frozen base, `Architecture.base_dtype`.
        micro_batches: slices of the batch, one after the other.
        neighbours: so many consecutive rows of the batch stay together in a slice.
        seed: of dropout.
        updated: the only subtree of `trainable` that the optimizer moves; '' moves all.
    """

    loss: Loss
    trainable: Any
    frozen: Any
    batch: Any
    optimizer: optax.GradientTransformation
    frozen_dtype: str = 'float32'
    micro_batches: int = 1
    neighbours: int = 1
    seed: int = 0
    updated: str = ''

    def init(self, trainable: Any) -> dict[str, Any]:
        """The state before the first step, from the trainable arrays."""
        return init(trainable, self.optimizer)

    def step(self) -> Callable[[Any, Any, Any], tuple[Any, dict[str, Average]]]:
        """`(state, frozen, batch) -> state, metrics`, see `perl.training.step`."""
        return functools.partial(
            step,
            loss=self.loss,
            optimizer=self.optimizer,
            seed=self.seed,
            micro_batches=self.micro_batches,
            neighbours=self.neighbours,
        )

    def update(self, state: Any = None) -> Compiled:
        """The step, to be compiled for each shape that it meets.

        Args:
            state: a placed state, whose layout the new state keeps; it is donated.
        """
        options = {}
        if state is not None:
            layout = jax.tree.map(lambda x: x.sharding, state)
            options['out_shardings'] = (layout, None)
        return Compiled(self.step(), donate_argnames=('state',), **options)

    def abstract(self, mesh: Mesh | None = None) -> tuple[Any, Any, Any]:
        """State, frozen tree and batch as shapes, placed on a mesh if there is one.

        The mesh may be one of devices that this machine lacks; lowering `update()` for
        these shapes compiles the step without an array.
        """
        trainable = _shapes(self.trainable, 'float32', mesh)
        state = jax.eval_shape(self.init, trainable)
        if mesh is not None:
            state = _placed({**state, 'trainable': trainable}, mesh)
        batch = jax.tree.map(functools.partial(_row, mesh), self.batch)
        return state, _shapes(self.frozen, self.frozen_dtype, mesh), batch

    def bytes_per_device(self, mesh: Mesh) -> dict[str, int]:
        """What a device of the mesh holds: frozen (an array that several roles share
        counts once), trainable, gradients and optimizer state."""
        state, _, _ = self.abstract(mesh)
        moving = self.trainable
        if self.updated:
            moving = {self.updated: moving[self.updated]}
        # roles share the declared base, as they share its arrays
        unique = {id(x): x for x in _leaves(self.frozen)}
        return {
            'frozen': _bytes(_shapes([*unique.values()], self.frozen_dtype, mesh)),
            'trainable': _bytes(_shapes(self.trainable, 'float32', mesh)),
            'gradients': _bytes(_shapes(moving, 'float32', mesh)),
            'optimizer': _bytes(state['opt']),
        }

    def parameter_count(self) -> int:
        """How many numbers the optimizer moves."""
        tree = self.trainable[self.updated] if self.updated else self.trainable
        moved = (x for x in _leaves(tree) if getattr(x, 'rate', 1.0))
        return sum(math.prod(x.shape) for x in moved)


def _placed(state, mesh):
    """The state with each moment where its parameter lies, and the rest everywhere.

    A moment has the path of its parameter at the end of its own, and its shape.
    """
    everywhere = sharding.replicated(mesh)
    parameters = [
        (jax.tree_util.keystr(path), x)
        for path, x in jax.tree_util.tree_leaves_with_path(state['trainable'])
    ]

    def place(path, x):
        moment = jax.tree_util.keystr(path)
        for name, parameter in parameters:
            if moment.endswith(name) and x.shape == parameter.shape:
                return _struct(x.shape, x.dtype, parameter.sharding)
        return _struct(x.shape, x.dtype, everywhere)

    rest = {name: tree for name, tree in state.items() if name != 'trainable'}
    return state | jax.tree_util.tree_map_with_path(place, rest)


def _leaves(tree):
    return jax.tree.leaves(tree, is_leaf=is_leaf)


def _shapes(tree, dtype, mesh):
    """A tree on paper as shapes, placed on the mesh."""

    def shape(x):
        if not isinstance(x, Leaf):
            place = None if mesh is None else sharding.replicated(mesh)
            return _struct(x.shape, x.dtype, place)
        place = None
        if mesh is not None:
            place = NamedSharding(mesh, sharding.spec(x.axes, x.shape, mesh))
        return _struct(x.shape, x.dtype or dtype, place)

    return jax.tree.map(shape, tree, is_leaf=is_leaf)


def _struct(shape, dtype, place):
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=place)


def _row(mesh, x):
    place = None
    if mesh is not None:
        axes = ('batch',) + (None,) * (len(x.shape) - 1)
        place = NamedSharding(mesh, sharding.spec(axes, x.shape, mesh))
    return _struct(x.shape, x.dtype, place)


def _bytes(tree):
    """Bytes of one device's shards."""
    return sum(
        x.dtype.itemsize * math.prod(x.sharding.shard_shape(x.shape))
        for x in jax.tree.leaves(tree)
    )
