"""What the devices of a compiled program send each other, read from its text.

The text is that of XLA's compilers for CPUs, GPUs and TPUs: `compiled.as_text()`.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from perl.system.device_groups import axes_of_groups

KINDS = (
    *('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all'),
    *('collective-permute', 'collective-broadcast', 'ragged-all-to-all'),
)
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{$')
_COLLECTIVE = re.compile(rf' = (.*?) ({"|".join(KINDS)})(-start)?\(')
_CALLS = re.compile(r'(calls|to_apply|body|\w+_computation)=%?([\w.-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_CONDITION = re.compile(r' while\(.*condition=%?([\w.-]+)')
_KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LIMIT = re.compile(r' s32\[\]\S* constant\((\d+)\)')
_ARRAY = re.compile(r'(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')
# what a device sends in a ring of n devices, as a multiple of (n - 1) / n of the array
_RING = {'all-reduce': 2, 'collective-permute': None, 'collective-broadcast': None}


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation in which devices exchange arrays.

    Attributes:
        kind: in `KINDS`.
        size: bytes of the whole arrays, each time: what a gather makes, what each
            device has of a sum before it, what a device sends in a permutation.
        shapes: the arrays in the text, such as `bf16[64,8]`: parts of a reduce-scatter.
        devices: in a group.
        axes: of the mesh, along which the devices of a group lie.
        times: how often it runs in one run of the program.
        repeats: whether it is also in a loop whose length the data decide; `times` is
            that of one turn then.
        source: the operation of JAX that it is for.
    """

    kind: str
    size: int
    shapes: tuple[str, ...]
    devices: int
    axes: tuple[str, ...]
    times: int
    repeats: bool
    source: str

    @property
    def total(self) -> int:
        """Bytes of the arrays, all times."""
        return self.size * self.times

    @property
    def sent(self) -> int:
        """Bytes that each device sends in all times, where the devices of a group are a
        ring: `2 (n - 1) / n` of what is reduced, `(n - 1) / n` of what is gathered or
        reduced into parts."""
        ring = _RING.get(self.kind, 1)
        if ring is None:
            return self.total
        return ring * self.total * (self.devices - 1) // self.devices


class _Site(NamedTuple):
    """Where a computation is called: how often, and inside of which loops."""

    times: int
    repeats: bool
    loops: tuple[str, ...]


def collectives(text: str, mesh: Mapping[str, int]) -> list[Collective]:
    """The collectives of a program.

    The compiler for TPUs overlaps a collective with other work by writing it again into
    each operation that it runs beside; it counts once. A loop whose length XLA does not
    tell runs from zero to its limit, as `jax.lax.scan` does. A branch counts as if it
    ran.

    Args:
        text: of the compiled program; an empty one has none.
        mesh: lengths of its axes by name, in the order of its devices.
    """
    computations, entry = _computations(text)
    found: dict[tuple, Collective] = {}

    def visit(name, site):
        for number, line in enumerate(computations[name]):
            match = _COLLECTIVE.search(line)
            if match:
                channel = re.search(r'channel_id=(\d+)', line)
                key = site.loops, channel[1] if channel else (name, number)
                scatters = name.startswith('all-reduce-scatter')  # a fusion on TPUs
                found.setdefault(key, _read(line, match, site, mesh, scatters))
            elif '-done(' not in line and '-update(' not in line:
                for called, inside in _called(line, site, computations):
                    visit(called, inside)

    if entry:
        visit(entry, _Site(1, False, ()))
    return list(found.values())


def _computations(text) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by its name, and the name of the first to run."""
    lines: dict[str, list[str]] = {}
    entry = name = ''
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header:
            name = header[2]
            lines[name], entry = [], name if header[1] else entry
        elif name:
            lines[name].append(line)
    return lines, entry


def _called(line, site, computations) -> Iterator[tuple[str, _Site]]:
    """The computations that an instruction calls."""
    names = [found[2] for found in _CALLS.finditer(line)]
    branches = _BRANCHES.search(line)
    if branches:
        names += re.findall(r'[\w.-]+', branches[1])
    condition = _CONDITION.search(line)
    if condition:
        trips = _trips(line, computations[condition[1]])
        loops = (*site.loops, line.split(' = ')[0].strip())
        site = _Site(site.times * (trips or 1), site.repeats or trips is None, loops)
    yield from ((name, site) for name in names if name in computations)


def _trips(line, condition) -> int | None:
    """How often a loop runs, None where the data decide."""
    known = _KNOWN_TRIPS.search(line)
    if known:
        return int(known[1])
    limits = _LIMIT.findall('\n'.join(condition))
    counts = any('ROOT' in x and 'direction=LT' in x for x in condition)
    return int(limits[0]) if counts and len(limits) == 1 else None


def _read(line, match, site, mesh, scatters) -> Collective:
    """A collective from its line of the text."""
    result, kind, start = match.groups()
    if start and kind != 'all-reduce' and result.startswith('('):
        result = _parts(result)[1]  # what it starts from is the first part
    arrays = list(_ARRAY.finditer(result))
    axes = axes_of_groups(line, mesh)
    devices = math.prod(mesh[axis] for axis in axes)
    size = sum(map(_bytes, arrays))
    source = re.search(r'op_name="([^"]*)"', line)
    return Collective(
        kind='reduce-scatter' if scatters else kind,
        size=size * devices if kind == 'reduce-scatter' else size,
        shapes=tuple(x[0] for x in arrays),
        devices=devices,
        axes=axes,
        times=site.times,
        repeats=site.repeats,
        source=source[1] if source else '',
    )


def _parts(text) -> list[str]:
    """The elements of a tuple's type."""
    parts, depth = [''], 0
    for letter in text[1:-1]:
        depth += (letter in '({[') - (letter in ')}]')
        if letter == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += letter
    return parts


def _bytes(array) -> int:
    """Bytes of a matched array such as `bf16[64,8]`."""
    bits = 8 if array[1] == 'pred' else int(array[2])
    return -(-bits * math.prod(map(int, filter(None, array[3].split(',')))) // 8)
