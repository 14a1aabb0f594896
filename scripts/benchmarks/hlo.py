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
    r'constant|memcpy|memset)\b'
)
_OTHER = re.compile(r'(custom-call|sort|rng|scatter|fft|partition-id|infeed|outfeed)\b')
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
    parts, inside, own = _parts(lines), {}, None
    for line in lines:
        if match := _COMPUTATION.match(line):
            own = inside.setdefault(match[1], [])
        elif own is not None and (match := _OPERATION.match(line)):
            own.append(match.groups())
    codes = {name: {code for _, code, _ in own} for name, own in inside.items()}
    found = {}
    for own in inside.values():
        for name, code, rest in own:
            frame = _FRAME.search(rest)
            part = parts.get(frame[1], '') if frame else ''
            found[name] = Operation(_kind(code, rest, part, codes), part)
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


def _kind(code, rest, part, codes):
    """The kind of an operation, of which the text after its opcode is given."""
    if code in _HOLDERS:
        return ''
    if _COLLECTIVE.match(code):
        return COLLECTIVE
    target = _TARGET.search(rest)
    if _ATTENTION.search(part + '/') or (target and _ATTENTION.search(target[1])):
        return ATTENTION
    called = _CALLS.search(rest)
    inside = codes.get(called[1], {code}) if called else {code}
    if inside & {'dot', 'convolution'} or (target and _PRODUCT.search(target[1])):
        return PRODUCT
    if all(_MOVES.match(each) for each in inside):
        return MOVED
    return OTHER if _OTHER.match(code) else ELEMENTWISE


def _parts(lines):
    """By the number of a stack frame, the innermost file of `perl/` that is on the
    stack, but for those of `perl/weights/`, which multiply for all others."""
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

    def part(frame):
        while frame in frames:
            fields = dict(_FIELD.findall(frames[frame]))
            place = dict(_FIELD.findall(places[fields['file_location_id']]))
            file = re.search(r'/perl/([\w/]+)\.py', names[place['file_name_id']])
            if file and not file[1].startswith('weights/'):
                return file[1]
            if fields.get('parent_frame_id') == frame:
                break
            frame = fields.get('parent_frame_id')
        return ''

    return {frame: part(frame) for frame in frames}
