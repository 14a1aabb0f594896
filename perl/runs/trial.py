"""Tries rewards on two rows of the data, before anything is trained."""

from typing import Any

from perl.data.records import Dataset
from perl.judges import each, functions
from perl.runs.judging import exact
from perl.system.errors import within


def try_rewards(config: Any, dataset: Dataset) -> dict[str, list[float]]:
    """The rewards of two rows by each reward that is known before training: functions
    and `gold`. So a function that fails is found before hours of work.

    Returns:
        Two rewards for each stage that has such a reward.

    Raises:
        UserError: a function fails, or the dataset has no exact reward.
    """
    rewards = {}
    for name in config.stages:
        reward = config[name].get('reward', '')
        with within(f'{name}.reward'):
            if reward == 'gold':
                rewards[name] = each(exact(dataset))(*_two_rows(dataset)).tolist()
            elif functions.named(reward):
                rewards[name] = functions.load(reward)(*_two_rows(dataset)).tolist()
    return rewards


def _two_rows(dataset):
    """Two prompts of the dataset, with two of its responses where it has some."""
    pairs = dataset.comparisons['train'][:2]
    prompts = [*dataset.prompts['train'][:2], *(pair.prompt for pair in pairs)]
    responses = [row.response for row in dataset.demonstrations['train'][:2]]
    responses += [text for pair in pairs for text in pair.completions]
    return [*prompts, 'Hello.', 'Hello?'][:2], [*responses, 'Yes.', 'No.'][:2]
