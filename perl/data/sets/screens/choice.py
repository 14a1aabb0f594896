"""A prompt with its right response and wrong ones, as records of every kind."""

from collections.abc import Sequence

from perl.data.records import Comparison, Demonstration, Rating
from perl.data.splits import Groups


def add(
    groups: Groups,
    split: str,
    group: str,
    prompt: str,
    right: str,
    wrong: Sequence[str],
    tags: tuple[tuple[str, str], ...] = (),
) -> None:
    """Adds the records: each wrong response is a comparison with the right one and a
    rating of 0, and is counted as `programmatic_negatives`.

    Args:
        groups: of the dataset.
        split, group: of the prompt, see `Groups.add`.
        prompt: the screen and what is to be done.
        right: the response of a person.
        wrong: responses that were drawn.
        tags: of the comparisons and ratings.
    """
    groups.counts['programmatic_negatives'] += len(wrong)
    groups.add('text', split, group, prompt + right)
    groups.add('prompts', split, group, prompt)
    groups.add('demonstrations', split, group, Demonstration(prompt, right))
    groups.add('ratings', split, group, Rating(prompt, right, 1.0, tags))
    for response in wrong:
        pair = Comparison(prompt, (right, response), tags=tags)
        groups.add('comparisons', split, group, pair)
        groups.add('ratings', split, group, Rating(prompt, response, 0.0, tags))
