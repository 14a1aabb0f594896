"""A tuning of every row of the table, for the tiny decoder, and its adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from perl import sharding
from perl.adapters.tunings import TUNINGS, create
from perl.models import architecture, frozen_base

# fields that the tiny decoder needs
SETTINGS = {
    'lora': {'rank': 3, 'b_rate': 4.0},
    'dora': {'rank': 3},
    'pissa': {'rank': 3},
    'qlora': {'rank': 3},
    'qalora': {'rank': 3},
    'houlsby': {'width': 4},
    'pfeiffer': {'width': 4},
    'prefix': {'slots': 4},
    'top_layers': {'layers': 1},
}
KINDS = {name: create({'name': name, **SETTINGS.get(name, {})}) for name in TUNINGS}
# with weights that are trained in full beside the factors: around the layers, and in
# them, one of which a base in few bits stores
_AROUND = ('embed', 'unembed', 'norm', 'layers/.*/norm')
KINDS |= {
    f'{name}_and_weights': create({'name': name, 'rank': 3, 'modules_to_save': whole})
    for name, whole in {
        'lora': _AROUND,
        'qalora': ('embed', 'layers/mlp/down'),
    }.items()
}
ADAPTERS = [name for name in KINDS if name != 'full']
# what no array can stand for
UNMERGED = ('bitfit', 'houlsby', 'pfeiffer', 'prefix')


def arch(name, **changes):
    """The tiny decoder over a base as the tuning wants it."""
    return tiny.arch(quantization=KINDS[name].quantization or 'none', **changes)


def base(name, **changes):
    """Its frozen base, on one device."""
    own = arch(name, **changes)
    return frozen_base.place(own, tiny.weights(own), sharding.make_mesh())


def fresh(name, frozen, seed=0):
    """The delta before the first step."""
    leaves = architecture.parameters(tiny.ARCH)
    return KINDS[name].init(jax.random.key(seed), frozen, leaves)


def trained(name, frozen, seed=0, size=0.1):
    """A delta that has moved at random, but for what the tuning keeps."""
    rng = np.random.default_rng(seed)
    leaves = architecture.parameters(tiny.ARCH)

    def moved(leaf, x):
        noise = size * rng.normal(size=x.shape)
        return x + jnp.asarray(noise, x.dtype) if leaf.rate else x

    is_leaf = lambda x: hasattr(x, 'rate')  # noqa: E731
    said = KINDS[name].declare(leaves)
    return jax.tree.map(moved, said, fresh(name, frozen), is_leaf=is_leaf)
