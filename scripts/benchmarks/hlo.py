"""The operations of compiled programs: of which kind each is, and which file asked for
it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import jax

PRODUCT, ATTENTION, ELEMENTWISE = 'matrix products', 'attention', 'elementwise'
MOVED, COLLECTIVE, OTHER = 'copies, transposes, converts', 'collectives', 'other'

_ATTENTION = re.compile(r'models/attention/|fmha|flash')
_PRODUCT = re.compile(r'gemm|cublas|cutlass|matmul|xmma|nvjet')
_COLLECTIVE = re.compile(
    r'all-reduce|all-gather|all-to-all|reduce-scatter|collective|nccl|send|recv'
)
_MOVES = re.compile(
    r'(copy|transpose|convert|reshape|bitcast|slice|dynamic-slice|pad|concatenate|'
    r'dynamic-update-slice|gather|broadcast|iota|tuple|get-tuple-element|parameter|'
    r'constant|memcpy\w*|memset\w*)\b'
)
_OTHER = re.compile(r'(custom-call|sort|rng|scatter|fft|partition-id|infeed|outfeed)\b')
# they multiply for the files that call them
_FOR_OTHERS = ('weights/', 'models/projections')
# they take the time of the operations inside of them
_HOLDERS = ('while', 'call', 'conditional')

_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.-]+) \(.*\{$')
_OPERATION = re.compile(
    r'^\s*(?:ROOT )?%?([\w.-]+) = (?:\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$'
)
_CALLS = re.compile(r'\bcalls=%?([\w.-]+)')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_FRAME = re.compile(r'stack_frame_id=(\d+)')
_TABLE = re.compile(r'^(\d+) (.*)$')
_FILE = re.compile(r'.*/perl/([\w/]+)\.py')
_FIELD = re.compile(r'(\w+)=(\d+)')


class Operation(NamedTuple):
    """One operation of a compiled program.

    Attributes:
        kind: of what it computes, one of the constants of this file; '' where its time
            is that of the operations inside of it.
        part: the file of `perl/` that asked for it, such as `models/mlp`; '' if none
            did.
    """

    kind: str
    part: str


def operations(names: Iterable[str]) -> dict[tuple[str, str], Operation]:
    """By program and name, the operations of the programs of these names that this
    process has compiled."""
    wanted, found = set(names), {}
    for program in jax.devices()[0].client.live_executables():
        for module in program.hlo_modules():
            if module.name in wanted:
                for name, operation in parsed(module.to_string()).items():
                    found.setdefault((module.name, name), operation)
    return found


def parsed(text: str) -> dict[str, Operation]:
    """The operations of a program, by name, from its text."""
    lines = text.splitlines()
    frames, inside, own = _parts(lines), {}, None
    for line in lines:
        if match := _COMPUTATION.match(line):
            own = inside.setdefault(match[1], [])
        elif own is not None and (match := _OPERATION.match(line)):
            name, code, rest = match.groups()
            frame = _FRAME.search(rest)
            own.append((name, code, rest, frames.get(frame[1], '') if frame else ''))
    found = {}
    for own in inside.values():
        for name, code, rest, part in own:
            called = _CALLS.search(rest)
            within = inside.get(called[1], []) if called else []
            part = part or next((x[3] for x in within if x[3]), '')
            codes = {x[1] for x in within} or {code}
            found[name] = Operation(_kind(code, codes, rest, part), part)
    return found


def kind_of_kernel(name: str) -> str:
    """The kind of an operation of which only the name of its kernel is known."""
    name = name.lower().replace('_', '-')
    if _ATTENTION.search(name):
        return ATTENTION
    if _COLLECTIVE.search(name):
        return COLLECTIVE
    if _PRODUCT.search(name):
        return PRODUCT
    if _MOVES.match(name):
        return MOVED
    return ELEMENTWISE if 'fusion' in name else OTHER


def _kind(code, codes, rest, part):
    """The kind of an operation, from its opcode, those inside of it, the text behind
    the opcode, and its part."""
    if code in _HOLDERS:
        return ''
    if _COLLECTIVE.match(code):
        return COLLECTIVE
    target = _TARGET.search(rest)
    target = target[1] if target else ''
    if _ATTENTION.search(part + '/') or _ATTENTION.search(target):
        return ATTENTION
    if codes & {'dot', 'convolution'} or _PRODUCT.search(target):
        return PRODUCT
    if all(_MOVES.match(each) for each in codes):
        return MOVED
    return OTHER if _OTHER.match(code) else ELEMENTWISE


def _parts(lines):
    """By the number of a stack frame, the innermost file of `perl/` on the stack, but
    for those that multiply for others."""
    tables, table = {}, None
    for line in lines:
        if line in ('FileNames', 'FileLocations', 'StackFrames'):
            table = tables.setdefault(line, {})
        elif table is not None and (match := _TABLE.match(line)):
            table[match[1]] = match[2]
        elif line.strip():
            table = None
    names, places, frames = (
        tables.get(name, {}) for name in ('FileNames', 'FileLocations', 'StackFrames')
    )

    frames = {frame: dict(_FIELD.findall(text)) for frame, text in frames.items()}
    # some versions of XLA write the number after that of the parent, 1 for none
    above = any(own.get('parent_frame_id') == x for x, own in frames.items())

    def part(frame):
        while frame in frames:
            place = dict(_FIELD.findall(places[frames[frame]['file_location_id']]))
            file = _FILE.search(names[place['file_name_id']])
            if file and not file[1].startswith(_FOR_OTHERS):
                return file[1]
            parent = int(frames[frame].get('parent_frame_id', 0)) - above
            frame = str(parent)
        return ''

    return {frame: part(frame) for frame in frames}
