"""Stores answers of language models on disk, so that no question is asked twice."""

import hashlib
import json
import pathlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from perl.judges.language.choose import Choose
from perl.judges.language.questions import PAIR, Template
from perl.system import hosts, jsonl
from perl.system.errors import UserError


def key(*parts: Any) -> str:
    """The sha256 of JSON values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()


class Answers:
    """Answers by key, stored as lines of JSON in a file.

    Without a file they are only in memory. A last line that a crash cut off is dropped.
    Threads may share an object.

    Raises:
        UserError: a line is damaged or has no key.
    """

    def __init__(self, file: str | pathlib.Path | None = None):
        self._file = None if file is None else pathlib.Path(file)
        self._lock = threading.Lock()
        self._rows: dict[str, dict] = {}
        if self._file is not None:
            hosts.first(lambda: jsonl.mend(self._file))
            for number, row in enumerate(jsonl.rows(self._file), 1):
                if not isinstance(row.get('key'), str):
                    raise UserError(
                        f'{self._file}: line {number} is not a stored answer; remove '
                        'the line, or name another file'
                    )
                self._rows[row['key']] = row

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer with a key, or None."""
        return self._rows.get(key)

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Stores answers, each with its `key`; they are on the disk on return."""
        rows = [jsonl.plain(row) for row in rows]
        with self._lock:
            if self._file is not None and hosts.is_first():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                jsonl.append(self._file, rows)
            self._rows |= {row['key']: row for row in rows}


def line(
    key: str,
    judge: str,
    template: Template,
    question: Mapping[str, str],
    chances: Sequence[float] | None,
) -> dict[str, Any]:
    """An answer in the stored form; `judges.recorded` can read it too.

    Args:
        key: identifies the question and all that the answer depends on.
        judge: the model that answered.
        template: the template of the question.
        question: its texts by field.
        chances: the probability of each option; None for no verdict.
    """
    known = chances is not None and np.isfinite(chances).all()
    name = 'preference' if template.fields == PAIR else 'score'
    return {
        'key': key,
        'labeller': f'{judge}/{template.name}',
        **question,
        name: float(np.dot(chances, template.values)) if known else None,
        'chances': [float(p) for p in chances] if known else None,
    }


def chances(row: Mapping[str, Any], template: Template) -> np.ndarray:
    """The probability of each option in a stored answer, float64 `[options]`; NaN for
    no verdict.

    Raises:
        UserError: the answer is damaged, or has another number of options.
    """
    values = row.get('chances', ())
    if values is None:
        return np.full(len(template.options), np.nan)
    numbers = isinstance(values, list) and all(
        isinstance(p, int | float) and 0 <= p <= 1 for p in values
    )
    if not numbers or len(values) != len(template.options):
        raise UserError(
            f'answers: the answer with the key {row["key"]:.16}… is damaged; remove '
            'its line from the file of answers'
        )
    return np.array(values, np.float64)


def remembered(choose: Choose, answers: Answers, name: str, chunk: int = 256) -> Choose:
    """`choose` with stored answers: it is called only for new questions.

    Args:
        choose: answers the questions.
        answers: the stored answers; new ones are added.
        name: identifies the judge and all that its answers depend on.
        chunk: number of questions between two saves.
    """

    def chosen(
        template: Template, questions: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        keys = [key(name, template.text, question) for question in questions]
        new = {k: q for k, q in zip(keys, questions, strict=True) if not answers.get(k)}
        # sorted, so that the batches do not depend on the order of the questions
        todo = sorted(new.items())
        for start in range(0, len(todo), chunk):
            part = todo[start : start + chunk]
            rows = choose(template, [question for _, question in part])
            answers.put(
                line(k, name, template, question, row)
                for (k, question), row in zip(part, rows, strict=True)
            )
        return np.array([chances(answers.get(k), template) for k in keys])

    return chosen
