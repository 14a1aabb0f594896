"""Rules: which kernels get an adapter and of which rank, and which weights are trained
in full beside them."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from perl.system.errors import UserError
from perl.weights import Leaf, flatten

# rules with a name, which match kernels only
PRESETS = {
    'attention': 'layers/attention/.*',  # as in PERL: every attention projection
    'all-linear': 'layers/.*',  # and the MLP, as in QLoRA and LoRA Without Regret
}
ATTENTION, ALL_LINEAR = ('attention',), ('all-linear',)


def choose(
    targets: Sequence[str], rank: int, leaves: Any, whole: Collection[str] = ()
) -> dict[str, tuple[Leaf, int]]:
    """The kernels that get an adapter and the rank of each, by path.

    Args:
        targets: ordered rules `pattern` or `pattern:rank`, matched against the whole
            path of a kernel; the first that matches wins, rank 0 leaves it alone. A
            pattern may be a name in `PRESETS`.
        rank: of rules that name none.
        leaves: the model's tree of `Leaf`.
        whole: paths of weights that are trained in full; they get no adapter.

    Raises:
        UserError: a rule is not a regular expression, matches nothing, or matches a
            parameter that is not a kernel; or all of them leave nothing to train.
    """
    paths = flatten(leaves)
    rules = [_rule(text, rank) for text in targets]
    chosen, used = {}, set()
    for path, leaf in paths.items():
        for i, (pattern, rule_rank) in enumerate(rules):
            if not _matches(pattern, path, leaf):
                continue
            used.add(i)
            if rule_rank and not leaf.inputs:
                raise UserError(
                    f'tuning.targets: {pattern!r} matches {path}, which is not a '
                    'kernel; narrow the rule or give it rank 0'
                )
            if rule_rank and path not in whole:
                chosen[path] = (leaf, rule_rank)
            break
    for i, (pattern, _) in enumerate(rules):
        if i not in used:
            kernels = ', '.join(p for p, leaf in paths.items() if leaf.inputs)
            raise UserError(
                f'tuning.targets: {pattern!r} matches nothing; '
                f'the kernels are {kernels}'
            )
    if not chosen:
        raise UserError('tuning.targets: no kernel is chosen, so nothing would learn')
    return chosen


def choose_whole(patterns: Sequence[str], leaves: Any) -> dict[str, Leaf]:
    """The parameters of any kind that are trained in full beside adapters, by path.

    Args:
        patterns: regular expressions, each matched against whole paths.
        leaves: the model's tree of `Leaf`.

    Raises:
        UserError: a pattern is not a regular expression, or matches nothing.
    """
    paths, chosen = flatten(leaves), {}
    for pattern in patterns:
        _check_expression('modules_to_save', pattern)
        found = {x: leaf for x, leaf in paths.items() if re.fullmatch(pattern, x)}
        if not found:
            raise UserError(
                f'tuning.modules_to_save: {pattern!r} matches nothing; the parameters '
                f'are {", ".join(paths)}'
            )
        chosen |= found
    return chosen


def _matches(pattern: str, path: str, leaf: Leaf) -> bool:
    if pattern in PRESETS:
        return leaf.inputs > 0 and bool(re.fullmatch(PRESETS[pattern], path))
    return bool(re.fullmatch(pattern, path))


def _rule(text: str, default: int) -> tuple[str, int]:
    pattern, colon, rank = text.rpartition(':')
    if not (colon and rank.isdigit()):
        pattern, rank = text, default
    _check_expression('targets', pattern)
    return pattern, int(rank)


def _check_expression(field: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(
            f'tuning.{field}: {pattern!r} is not a regular expression ({error})'
        ) from None
