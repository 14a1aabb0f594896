"""How many bytes the roles of a stage take."""

from collections.abc import Mapping

import jax

from perl.judges.panel import Panel
from perl.runs.roles import Role
from perl.system.sizes import readable


def memory(roles: Mapping[str, Role], rewards: Panel | None) -> str:
    """One line: the bytes of each role, of the reward models if the policy is trained
    with some, and of the bases; an array that several share counts once."""
    holders = [role.base for role in roles.values()]
    holders += [base for base, _ in rewards.stacks] if rewards else []
    bases = {id(x): x for x in jax.tree.leaves(holders)}
    counted = set(bases)
    sizes = [f'bases {_size(bases.values())} once']
    deltas = {name: role.delta for name, role in roles.items()}
    if rewards:
        deltas['reward'] = rewards
    for name, delta in deltas.items():
        arrays = [x for x in jax.tree.leaves(delta) if id(x) not in counted]
        counted |= {id(x) for x in arrays}
        sizes.append(f'{name} {_size(arrays)}')
    return ', '.join(sizes)


def _size(arrays) -> str:
    return readable(sum(x.nbytes for x in arrays))
