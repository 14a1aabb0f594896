"""A generated dataset: a restaurant's booking desk.

It has prompts, demonstrations of mixed quality, comparisons labelled by annotators who
disagree, and the exact reward, `quality.gold`. No file is read. A prompt ends with a
newline.
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

LARGEST = 10**7  # records of a kind


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
        seed: the seed of all random choices.
        text, demonstrations, comparisons, prompts: number of each in 'train'.
        held_out: number of each in 'val', and in 'test'.
        annotator_count, agreement, flip: the annotators of the comparisons (see
            `annotators.pool`). Only labels of 'train' are flipped.

    Raises:
        UserError: a size, the seed or a setting of the annotators is out of range.
    """
    _check(
        (text, demonstrations, comparisons, prompts, held_out), annotator_count, seed
    )

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


def _check(sizes: tuple[int, ...], annotator_count: int, seed: int) -> None:
    if min(sizes) < 0:
        raise UserError(f'reservations: a size is negative: {sizes}; give 0 or more')
    if max(most := (*sizes, annotator_count)) > LARGEST:
        raise UserError(
            f'reservations: a size is more than {LARGEST:,}: {max(most)}; all records '
            'are in memory, so give less'
        )
    if not 0 <= seed < 2**32:
        raise UserError(f'reservations: the seed {seed} must be in [0, 2^32)')


def _draw(make: Make, split: str, size: int, rng: random.Random) -> list:
    records = []
    while len(records) < size:
        request = bookings.draw_request(rng)
        if request.split == split:
            records.append(make(request, rng, len(records)))
    return records


def _prompt(request: Request, rng: random.Random, _: int) -> str:
    return bookings.ask(request, rng)


def _document(request: Request, rng: random.Random, _: int) -> str:
    prompt = bookings.ask(request, rng)
    return prompt + bookings.answer(request, rng, bookings.TEXT_FLAWS)


def _demonstration(request: Request, rng: random.Random, _: int) -> Demonstration:
    return Demonstration(bookings.ask(request, rng), bookings.answer(request, rng))


def _labelled_by(pool: annotators.Pool) -> Make:
    """Makes comparisons of two answers with different rewards, preferred one first."""

    def compare(request: Request, rng: random.Random, index: int) -> Comparison:
        prompt = bookings.ask(request, rng)
        first = second = bookings.answer(request, rng)
        first_aspects = second_aspects = quality.aspects(prompt, first)
        while first_aspects.total == second_aspects.total:
            second = bookings.answer(request, rng)
            second_aspects = quality.aspects(prompt, second)
        if pool.prefers_first(index, first_aspects.values, second_aspects.values):
            return Comparison(prompt, (first, second))
        return Comparison(prompt, (second, first))

    return compare
