"""The domain that the package writes itself: a restaurant's booking desk.

Prompts, demonstrations of mixed quality, comparisons labelled by annotators who
disagree, and the exact reward, `desk.gold`. Nothing is read from a file. A prompt ends
with a newline, after which the desk answers.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from perl.data.records import SPLITS, Comparison, Dataset, Demonstration
from perl.data.sets.desk import annotators, bookings, quality
from perl.data.sets.desk.bookings import Request
from perl.system.errors import UserError

T = TypeVar('T')
Make = Callable[[Request, random.Random, int], T]


def load(
    seed: int = 0,
    text: int = 6000,
    demonstrations: int = 4000,
    comparisons: int = 8000,
    prompts: int = 4000,
    held_out: int = 400,
    annotator_count: int = 13,
    agreement: float = 10.0,
    flip: float = 0.25,
) -> Dataset:
    """The booking desk, a pure function of its arguments.

    Args:
        seed: decides everything that is drawn.
        text, demonstrations, comparisons, prompts: how many to train on.
        held_out: how many of each for 'val', and again for 'test'.
        annotator_count, agreement, flip: who labels the comparisons (see
            `annotators.pool`). Only labels of 'train' are flipped.

    Raises:
        UserError: a negative size, or annotators out of range.
    """
    sizes = (text, demonstrations, comparisons, prompts, held_out)
    if min(sizes) < 0:
        raise UserError(f'reservations: no size can be negative, these are {sizes}')

    def every_split(kind: int, size: int, make: Callable[[str], Make]) -> dict:
        return {
            split: _draw(
                make(split),
                split,
                size if split == 'train' else held_out,
                random.Random(f'{seed} {kind} {place}'),
            )
            for place, split in enumerate(SPLITS)
        }

    def label(split: str) -> Make:
        weights = tuple(quality.WEIGHTS.values())
        chance = flip if split == 'train' else 0.0
        return _labelled_by(
            annotators.pool(weights, annotator_count, agreement, chance, seed)
        )

    return Dataset(
        name='reservations',
        text=every_split(0, text, lambda _: _document),
        demonstrations=every_split(1, demonstrations, lambda _: _demonstration),
        comparisons=every_split(2, comparisons, label),
        prompts=every_split(3, prompts, lambda _: _prompt),
        gold=quality.gold,
        harmless=lambda prompt, response: quality.aspects(prompt, response).harmless,
    )


def _draw(make: Make, split: str, size: int, rng: random.Random) -> list:
    made = []
    while len(made) < size:
        request = bookings.draw_request(rng)
        if request.split == split:
            made.append(make(request, rng, len(made)))
    return made


def _prompt(request: Request, rng: random.Random, _: int) -> str:
    return bookings.ask(request, rng)


def _document(request: Request, rng: random.Random, _: int) -> str:
    prompt = bookings.ask(request, rng)
    return prompt + bookings.answer(request, rng, bookings.TEXT_FLAWS)


def _demonstration(request: Request, rng: random.Random, _: int) -> Demonstration:
    return Demonstration(bookings.ask(request, rng), bookings.answer(request, rng))


def _labelled_by(pool: annotators.Pool) -> Make:
    """Two answers of different worth to one prompt, the preferred one first."""

    def compare(request: Request, rng: random.Random, index: int) -> Comparison:
        prompt = bookings.ask(request, rng)
        first = second = bookings.answer(request, rng)
        judged = again = quality.aspects(prompt, first)
        while judged.total == again.total:
            second = bookings.answer(request, rng)
            again = quality.aspects(prompt, second)
        if pool.prefers_first(index, judged.values, again.values):
            return Comparison(prompt, (first, second))
        return Comparison(prompt, (second, first))

    return compare
