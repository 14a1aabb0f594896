"""The groups of devices of a collective, from its line of a compiled program."""

import math
import re
from collections.abc import Mapping

import numpy as np

_LISTED = re.compile(r'\{([\d,]+)\}')
_PAIRS = re.compile(r'source_target_pairs=\{(\{.*?\})\}')
_GROUPS = re.compile(r'replica_groups=(.*?), [a-z_]+=(?!\()')
# devices as an array, counted in one order of its axes and listed in another
_IOTA = re.compile(r'\[([\d,]+)\](?:<=\[([\d,]+)\])?(?:T\(([\d,]+)\))?')
_OWN_MESH = re.compile(r'mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*)\}')


def axes_of_groups(line: str, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes of a mesh in which the devices of a group differ.

    Args:
        line: of the collective; its devices are those of the mesh, counted in order.
        mesh: lengths of its axes by name, in the order of its devices.
    """
    pairs = _PAIRS.search(line)
    if pairs:
        groups = _listed(pairs[1])
    else:
        groups = _groups(_GROUPS.search(line)[1], math.prod(mesh.values()))
    places = np.unravel_index(groups, tuple(mesh.values()))
    differ = [np.ptp(x, axis=1).any() for x in places]
    return tuple(axis for axis, x in zip(mesh, differ, strict=True) if x)


def _groups(said, devices):
    """Device numbers, a row for each group."""
    if said.startswith('{{'):
        return _listed(said)
    if said.startswith('{'):  # all are one group
        return np.arange(devices)[None]
    if said.startswith('['):
        shape, counted, order = _IOTA.match(said).groups()
        return _permuted(counted, order).reshape(_numbers(shape))
    return _groups_of_own_mesh(*_OWN_MESH.match(said).groups(), devices)


def _groups_of_own_mesh(lengths, order, chosen, devices):
    """Groups such as `mesh['a'=4,'b'=2] {'a'}`: the axes of a mesh of their own, in
    which the devices of a group differ. `'a':(2)4` is a part of an axis: 2 before it,
    and 4 devices of a group."""
    ids = np.arange(devices)
    if order:
        ids = _permuted(*_IOTA.match(order).groups()[::2])
    parts = {
        name: (int(before or 1), int(size or 0))
        for name, before, size in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", chosen)
    }
    dims, own = [], []
    for name, length in re.findall(r"'(\w+)'=(\d+)", lengths):
        before, size = parts.get(name, (1, 0))
        size = size or int(length)
        if name in parts:
            own.append(len(dims) + 1)
        dims += [before, size, int(length) // (before * size)]
    ids = np.moveaxis(ids.reshape(dims), own, range(-len(own), 0))
    return ids.reshape(-1, math.prod(dims[i] for i in own))


def _permuted(counted, order):
    shape = _numbers(counted)
    ids = np.arange(math.prod(shape)).reshape(shape)
    return (ids.transpose(_numbers(order)) if order else ids).reshape(-1)


def _listed(text):
    return np.array([_numbers(x) for x in _LISTED.findall(text)])


def _numbers(text):
    return [int(x) for x in text.split(',')]
