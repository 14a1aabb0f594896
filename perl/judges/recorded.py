"""A judge's recorded answers, read from a file: offline, exact and free of cost.

The file has lines of JSON. Comparisons have `prompt`, `first`, `second` and either
`preference`, the probability in [0, 1] that the first is better, or `verdict`, one of
1, 2 and "tie". Ratings have `prompt`, `response` and `score`. The file of answers of an
endpoint or a model has this form too. Lines about the same texts are averaged; null
means no verdict.
"""

import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from perl.judges.language.questions import PAIR, SINGLE
from perl.judges.reward import Preference, Reward, Texts
from perl.system import jsonl
from perl.system.errors import UserError
from perl.system.json_keys import RepeatedKey

_VERDICTS = {'1': 1.0, '2': 0.0, 'tie': 0.5}


def has_ratings(file: str | pathlib.Path) -> bool:
    """Whether a file has ratings of single responses rather than comparisons.

    Raises:
        UserError: there is no such file, or its first line is damaged.
    """
    _, first = next(_lines(pathlib.Path(file)), ('', {}))
    return 'response' in first


def preference(file: str | pathlib.Path) -> Preference:
    """The recorded comparisons; a pair recorded in only one order also counts in the
    other order.

    Raises:
        UserError: there is no such file, a line is damaged, or the lines are from
            several judges. When the preference is called: a pair is not in the file.
    """
    table = _table(pathlib.Path(file), PAIR, _preference)

    def find(prompt, first, second):
        if (prompt, first, second) in table:
            return table[prompt, first, second]
        reverse = table.get((prompt, second, first))
        return None if reverse is None else 1 - reverse

    def prefer(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return _look_up(file, find, 'pairs', prompts, firsts, seconds)

    return prefer


def reward(file: str | pathlib.Path) -> Reward:
    """The recorded ratings; raises as `preference` does."""
    table = _table(pathlib.Path(file), SINGLE, _score)

    def find(prompt, response):
        return table.get((prompt, response))

    def score(prompts: Texts, responses: Texts) -> np.ndarray:
        return _look_up(file, find, 'responses', prompts, responses)

    return score


def _look_up(file, find, what, *texts):
    rows = list(zip(*texts, strict=True))
    values = [find(*row) for row in rows]
    missing = [row for row, x in zip(rows, values, strict=True) if x is None]
    if missing:
        raise UserError(
            f'{file}: {len(missing)} of {len(rows)} {what} are not in it, the first '
            f'has the prompt {missing[0][0]!r:.60}; record them too'
        )
    return np.array(values, np.float64)


def _table(file, fields, value) -> dict[tuple[str, ...], float]:
    """{texts: mean of their values}, NaN for texts without any verdict."""
    values: dict[tuple, list[float]] = {}
    judges = set()
    for where, row in _lines(file):
        if not all(isinstance(row.get(field), str) for field in fields):
            raise UserError(f'{where}: needs the texts {", ".join(fields)}')
        judges.add(str(row.get('labeller')))
        of_texts = values.setdefault(tuple(row[field] for field in fields), [])
        number = value(where, row)
        if number is not None:
            of_texts.append(number)
    if len(judges) > 1:
        names = ', '.join(sorted(judges))
        raise UserError(
            f'{file}: has several labellers ({names:.80}); keep only the lines of one'
        )
    return {row: float(np.mean(x)) if x else math.nan for row, x in values.items()}


def _lines(file: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line; an incomplete last line is left out."""
    if not file.is_file():
        raise UserError(f'there is no file {file} with recorded answers')
    *whole, last = file.read_bytes().split(b'\n')
    for number, line in enumerate([*whole, last], 1):
        if not line.strip():
            continue
        where, row, cut = f'{file}, line {number}', None, number > len(whole)
        try:
            row = jsonl.parse(line.decode('utf-8'))
        except UnicodeDecodeError as error:
            if not (cut and error.end == len(line)):
                raise UserError(
                    f'{where}: byte {error.start + 1} is not UTF-8; fix the line'
                ) from None
        except RepeatedKey as error:
            raise UserError(f'{where}: {error}; keep one of the two') from None
        except ValueError:
            pass
        if isinstance(row, dict):
            yield where, row
        elif not cut:
            raise UserError(f'{where}: not a JSON object; fix the line')


def _preference(where, row):
    if 'preference' in row:
        value = row['preference']
        if value is None:
            return None
        if _is_number(value) and 0 <= value <= 1:
            return float(value)
        raise UserError(
            f'{where}: the preference {_short(value)} is not between 0 and 1'
        )
    if 'verdict' in row:
        value = row['verdict']
        if value is None:
            return None
        if isinstance(value, int | str) and str(value) in _VERDICTS:
            return _VERDICTS[str(value)]
        raise UserError(
            f'{where}: the verdict {_short(value)} is not one of {", ".join(_VERDICTS)}'
        )
    raise UserError(f'{where}: has neither preference nor verdict')


def _score(where, row):
    value = row.get('score')
    if value is None:
        return None
    # an integer with hundreds of digits would be infinite as a float
    if _is_number(value) and abs(value) < 1e300:
        return float(value)
    raise UserError(f'{where}: the score {_short(value)} is not a number')


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value):
    """A short form of any value, also a very large or deeply nested one."""
    try:
        return f'{value!r:.40}'
    except (ValueError, RecursionError):
        return f'of type {type(value).__name__}'
