"""Verdicts from a file instead of a judge: offline, exact, for free.

Lines of JSON: `prompt`, `first`, `second` and either `preference`, how likely the first
is the better, in [0, 1], or `verdict`, one of 1, 2 and "tie". Ratings have `prompt`,
`response` and `score`. The answers that an endpoint or a model left behind are such a
file. Lines on the same texts are averaged; null says that there is no verdict.
"""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from perl.judges.asking import Ask, Rater, Texts
from perl.judges.language.questions import PAIR, SINGLE
from perl.system.errors import UserError

_VERDICTS = {'1': 1.0, '2': 0.0, 'tie': 0.5}


def ask(file: str | pathlib.Path) -> Ask:
    """The recorded preferences; a pair that was recorded in one order only is taken
    as known in the other.

    Raises:
        UserError: no such file, a damaged line, several labellers; and when asked, a
            pair that is not in it.
    """
    known = _table(pathlib.Path(file), PAIR, _preference)

    def find(prompt, first, second):
        found = known.get((prompt, first, second))
        if found is not None:
            return found
        turned = known.get((prompt, second, first))
        return None if turned is None else 1 - turned

    def asked(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return _look_up(file, find, 'pairs', prompts, firsts, seconds)

    return asked


def rater(file: str | pathlib.Path) -> Rater:
    """The recorded scores; raises as `ask` does."""
    known = _table(pathlib.Path(file), SINGLE, _score)

    def rated(prompts: Texts, responses: Texts) -> np.ndarray:
        return _look_up(
            file, lambda *key: known.get(key), 'responses', prompts, responses
        )

    return rated


def _look_up(file, find, what, *texts):
    rows = list(zip(*texts, strict=True))
    found = [find(*row) for row in rows]
    missing = [row for row, x in zip(rows, found, strict=True) if x is None]
    if missing:
        raise UserError(
            f'{file}: {len(missing)} of {len(rows)} {what} are not in it, the first '
            f'one on the prompt {missing[0][0]!r:.60}; record them too'
        )
    return np.array(found, np.float64)


def _table(file, fields, value) -> dict[tuple[str, ...], float]:
    """{texts: mean of their values}, NaN where there is no verdict at all."""
    seen: dict[tuple, list[float]] = {}
    labellers = set()
    for where, row in _lines(file):
        if not all(isinstance(row.get(field), str) for field in fields):
            raise UserError(f'{where}: needs the texts {", ".join(fields)}')
        labellers.add(row.get('labeller'))
        said = value(where, row)
        values = seen.setdefault(tuple(row[field] for field in fields), [])
        if said is not None:
            values.append(said)
    if len(labellers) > 1:
        names = ', '.join(sorted(map(str, labellers)))
        raise UserError(
            f'{file}: has several labellers ({names}); keep the lines of one'
        )
    return {row: float(np.mean(x)) if x else math.nan for row, x in seen.items()}


def _lines(file: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not file.is_file():
        raise UserError(f'there is no file {file} with recorded answers')
    try:
        *whole, last = file.read_text('utf-8').split('\n')
    except UnicodeDecodeError as error:
        raise UserError(f'{file}: no text in UTF-8 ({error}); mend it') from None
    for number, line in enumerate([*whole, last], 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            yield f'{file}, line {number}', row
        elif number <= len(whole):  # only the last line can have been cut off
            raise UserError(f'{file}, line {number}: not a JSON object; mend it')


def _preference(where, row):
    if 'preference' in row:
        said = row['preference']
        if said is None or (_number(said) and 0 <= said <= 1):
            return said
        raise UserError(f'{where}: the preference {said!r:.40} is not between 0 and 1')
    if 'verdict' in row:
        said = row['verdict']
        if said is None or str(said) in _VERDICTS:
            return _VERDICTS.get(str(said))
        raise UserError(
            f'{where}: the verdict {said!r:.40} is none of {", ".join(_VERDICTS)}'
        )
    raise UserError(f'{where}: has neither preference nor verdict')


def _score(where, row):
    said = row.get('score')
    if said is None or (_number(said) and math.isfinite(said)):
        return said
    raise UserError(f'{where}: the score {said!r:.40} is not a number')


def _number(x):
    return isinstance(x, int | float) and not isinstance(x, bool)
