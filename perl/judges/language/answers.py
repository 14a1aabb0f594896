"""Answers that were given once, on disk: one JSON object a line, never asked again."""

import hashlib
import json
import pathlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from perl.judges.asking import Choose
from perl.judges.language.questions import PAIR, Template
from perl.system import jsonl
from perl.system.errors import UserError


def key(*parts: Any) -> str:
    """The sha256 of some JSON values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()


class Answers:
    """A file that grows by a line for each answer, or without a file, a memory.

    A last line that a crash cut off is dropped. Threads may share it.

    Raises:
        UserError: a line is damaged or has no key.
    """

    def __init__(self, file: str | pathlib.Path | None = None):
        self._file = None if file is None else pathlib.Path(file)
        self._lock = threading.Lock()
        self._rows: dict[str, dict] = {}
        if self._file is not None:
            jsonl.mend(self._file)
            for number, row in enumerate(jsonl.rows(self._file), 1):
                if not isinstance(row, dict) or 'key' not in row:
                    raise UserError(
                        f'{self._file}: line {number} is no answer that was kept here; '
                        'name another file'
                    )
                self._rows[row['key']] = row

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer with a key, if it is known."""
        return self._rows.get(key)

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keeps answers, each with its `key`; they are on the disk on return."""
        rows = [jsonl.plain(row) for row in rows]
        with self._lock:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                jsonl.append(self._file, rows)
            self._rows |= {row['key']: row for row in rows}


def line(
    key: str,
    labeller: str,
    template: Template,
    question: Mapping[str, str],
    chances: Sequence[float] | None,
) -> dict[str, Any]:
    """An answer as it is kept; `recorded` can read it too.

    `chances` are the probabilities of the options, None where there is no verdict.
    """
    known = chances is not None and np.isfinite(chances).all()
    name = 'preference' if template.fields == PAIR else 'score'
    return {
        'key': key,
        'labeller': f'{labeller}/{template.name}',
        **question,
        name: float(np.dot(chances, template.values)) if known else None,
        'chances': [float(p) for p in chances] if known else None,
    }


def remembered(choose: Choose, answers: Answers, name: str, chunk: int = 256) -> Choose:
    """`choose`, but what is known is not asked again, and what is asked is kept.

    Args:
        choose: answers the questions.
        answers: where they are kept.
        name: which labeller it is: everything that its answers depend on.
        chunk: questions between two saves.
    """

    def chosen(
        template: Template, questions: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        keys = [key(name, template.text, question) for question in questions]
        new = {k: q for k, q in zip(keys, questions, strict=True) if not answers.get(k)}
        # in an order of their own, so that a batch does not depend on the caller's
        todo = sorted(new.items())
        for start in range(0, len(todo), chunk):
            part = todo[start : start + chunk]
            found = choose(template, [question for _, question in part])
            answers.put(
                line(k, name, template, question, chances)
                for (k, question), chances in zip(part, found, strict=True)
            )
        nothing = [np.nan] * len(template.options)
        return np.array([answers.get(k)['chances'] or nothing for k in keys])

    return chosen
