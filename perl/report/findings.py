"""What `perl.check` found, in lines for a person."""

import math
from collections.abc import Sequence
from typing import Any

from perl.data import survey
from perl.system.sizes import readable

FEW = 30  # held-out examples below which an interval is too wide to be of use
MANY = 50  # epochs above which a model mostly repeats its examples


def lines(findings: dict[str, Any]) -> list[str]:
    """The findings of `check` for a person."""
    text = []
    mesh, vocabulary = findings['mesh'], findings['vocabulary']
    if mesh['wanted'] > mesh['devices']:
        text.append(
            f'mesh: of {mesh["wanted"]} devices; this machine has {mesh["devices"]}'
        )
    if findings['not_run']:
        text.append(f'not run: {", ".join(findings["not_run"])}')
    text += [f'data: {reason}: {n}' for reason, n in findings['dropped'].items()]
    if vocabulary['padding']:
        text.append(
            f'vocabulary: the base has {vocabulary["rows"]} rows, the tokenizer '
            f'{vocabulary["pieces"]} pieces: {vocabulary["padding"]} rows are padding'
        )
    for name, splits in findings['data'].items():
        for split, row in splits.items():
            text += [f'{name}/{split}: {line}' for line in _split_lines(row)]
            text += [f'{name}/{split}: {line}' for line in _warnings(name, split, row)]
    for name, example in findings['examples'].items():
        text.append(f'{name}: an example, with what is learned in «»:')
        text += [f'    {line}' for line in example.splitlines()]
    for name, row in findings['rewards'].items():
        text.append(f'{name}: {row["reward"]} {_tried(row["values"])}')
    for name, row in findings['stages'].items():
        sizes = ', '.join(
            f'{k} {readable(v)}' for k, v in row['bytes_a_device'].items()
        )
        count = row['trainable']
        all_of_it = f'; {count:,} trained in all, heads included' if count else ''
        text.append(f'{name}: {row["coverage"]}{all_of_it}; a device holds {sizes}')
        text += [f'{name}: {line}' for line in row['advice']]
        text += [f'{name}: {line}' for line in _memory_warnings(findings, row)]
    return text


def too_large(findings: dict[str, Any], stages: Sequence[str] = ()) -> str:
    """The error for the stage that needs most memory, if it needs more than the devices
    have in all; '' if no stage does, or if their memory is unknown.

    Args:
        findings: of `check`.
        stages: those that would be run; all by default.
    """
    memory, rows = findings['memory'], findings['stages']
    held = {name: _held(rows[name], memory) for name in stages or rows}
    name = max(held, key=held.get, default='')
    if not (memory and name and held[name] > memory['total']):
        return ''
    return (
        f'{name}: it needs {readable(held[name])} of memory without activations, but '
        f'{memory["place"]} has {readable(memory["total"])}; make the model smaller, '
        'train less of it (tuning), or take a machine or a mesh with more memory'
    )


def _memory_warnings(findings, row):
    """Warns of a stage that fits into the memory of the devices, but not into the free
    part."""
    memory = findings['memory']
    held = _held(row, memory)
    if memory and memory['free'] < held <= memory['total']:
        yield (
            f'warning: it needs {readable(held)} of memory without activations, but '
            f'{memory["place"]} has {readable(memory["free"])} free of '
            f'{readable(memory["total"])}; end other programs or make the model smaller'
        )


def _held(row, memory):
    """The bytes of all devices that share one memory; 0 if the memory is unknown."""
    return memory['devices'] * sum(row['bytes_a_device'].values()) if memory else 0


def _tried(rewards):
    """The answers of a reward to the first two rows."""
    if all(math.isnan(x) for x in rewards):
        return (
            'has no verdict on the first two rows; training stops where half of a '
            'batch or more has none'
        )
    return (
        f'rewards the first two rows with {" and ".join(f"{x:.4g}" for x in rewards)}'
    )


def _warnings(name, split, row):
    """Warns of figures that will be uncertain, and of models that memorise their
    examples."""
    if split != 'train' and row.get('examples', FEW) < FEW:
        yield f'so few examples say little: give {FEW} or more'
    is_read = 'documents' in row or 'response_max' in row  # prompts are answered anew
    if is_read and row.get('epochs', 0) > MANY:
        noun = 'document' if 'documents' in row else 'example'
        yield f'each {noun} is seen {row["epochs"]:.0f} times; lower {name}.steps'


def _split_lines(row):
    """The sizes of a split, and in a second line what is cut or unusual."""
    if 'documents' in row:
        first = survey.many(row['documents'], 'document')
        first += f' of {row["tokens"]:,} tokens in {survey.many(row["rows"], "row")}'
    else:
        first = survey.many(row['examples'], 'example')
    for name in ('document', 'prompt', 'response'):
        if f'{name}_max' in row:
            spread = (f'{x} {row[f"{name}_{x}"]}' for x in ('p50', 'p95', 'max'))
            first += f', {name} tokens {" ".join(spread)}'
    if 'epochs' in row:
        first += f', {row["epochs"]:.3g} epochs'
    odd = '' if 'documents' in row else survey.words(row)
    return [first, odd] if odd else [first]
