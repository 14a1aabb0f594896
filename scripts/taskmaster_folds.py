"""Settings of the Taskmaster reward models compared without the test split.

    python scripts/taskmaster_folds.py --root=../shared/data/taskmaster \
        --workdir=runs/taskmaster --dataset=ticketing --set reward.steps=960

Ratings of train and validation are cut into five folds by dialog; a reward model learns
all but one, from the base and SFT model that scripts/taskmaster_table.py has made, with
the number of the fold as its seed. Prints the mean AUC and that of each fold.
"""

import argparse
import ast
import dataclasses
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import taskmaster_table as table
from ml_collections import ConfigDict
from tqdm import tqdm

from perl.config import rules
from perl.data.records import Dataset, Rating
from perl.data.sets.taskmaster.turns import ROLES
from perl.evaluation.figures import baselines
from perl.runs import opening
from perl.runs.base import open_base
from perl.stages import reward
from perl.system.errors import UserError
from perl.system.interrupt import Stopped

FOLDS = 5
BAG = 'bag_of_words'


def folds(dataset: Dataset) -> Iterator[Dataset]:
    """The data with train, and a held-out part of it in place of val and test."""
    from sklearn.model_selection import GroupKFold

    ratings = dataset.ratings['train'] + dataset.ratings['val']
    cut = GroupKFold(FOLDS, shuffle=True, random_state=0)
    dialogs = list(map(first_user, ratings))
    for train, held_out in cut.split(dialogs, groups=dialogs):
        parts = {'train': train, 'val': held_out, 'test': held_out}
        found = {split: [ratings[i] for i in rows] for split, rows in parts.items()}
        yield dataclasses.replace(dataset, ratings=found)


def first_user(rating: Rating) -> str:
    """The first line of the user in a prompt, by which dialogs are told apart."""
    said = (x for x in rating.prompt.split('\n') if x.startswith(f'{ROLES[0]}:'))
    return next(said, '')


def bag_of_words(dataset: Dataset, context: int = baselines.CHARACTERS) -> float:
    """The AUC of the baseline on a fold, on which it also chooses its strength.

    Args:
        dataset: of a fold.
        context: how many characters before a turn it reads at most.
    """

    def cut(row):
        start = max(0, len(row.prompt) - context)
        return dataclasses.replace(row, prompt=row.prompt[start:])

    ratings = {split: [*map(cut, rows)] for split, rows in dataset.ratings.items()}
    return baselines.metrics(ratings, 'test')[BAG][0]['auc']


def reward_model(dataset: Dataset, config: ConfigDict, base: pathlib.Path) -> float:
    """The AUC of a reward model on a fold.

    Raises:
        UserError: the base and the SFT model that it starts from are not there.
    """
    if not all((base / part).is_dir() for part in table.SHARED):
        raise UserError(
            f'--workdir: no base in {base}; run scripts/taskmaster_table.py first'
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        table.share(base, folder)
        run = opening.begin_run(config, folder)
        open_base(run)
        run.dataset = dataset
        with jax.set_mesh(run.mesh), run.interrupt:
            return reward.reward(run, 'reward')['auc']


def change(text: str) -> tuple[str, Any]:
    """`'reward.steps=960'` as a name and a value."""
    name, _, value = text.partition('=')
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not name=value; quote text in the value'
        ) from None


def changed(config: ConfigDict, changes: Sequence[tuple[str, Any]]) -> ConfigDict:
    """The config with other values.

    Raises:
        UserError: a name that it does not have, a value of another type or range.
    """
    for name, value in changes:
        try:
            config.update_from_flattened_dict({name: value})
        except (KeyError, AttributeError, TypeError, UserError):
            raise UserError(
                f'--set {name}={value!r}: the config has no such field of that type'
            ) from None
    rules.validate(config)
    return config


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--root', required=True, help='the Taskmaster repository')
    flags.add_argument('--workdir', default='runs/taskmaster', type=pathlib.Path)
    flags.add_argument('--dataset', default='ticketing', choices=table.DATASETS)
    flags.add_argument('--model', default='lora r=8', choices=[*table.TUNINGS, BAG])
    flags.add_argument('--folds', default=4, type=int, choices=range(1, FOLDS + 1))
    flags.add_argument(
        '--context', default=baselines.CHARACTERS, type=int, help='of the bag of words'
    )
    flags.add_argument('--set', default=[], nargs='+', type=change, help='name=value')
    args = flags.parse_args(argv)
    tuning = 'full' if args.model == BAG else args.model
    configs = [
        changed(table.config_of(args.dataset, args.root, tuning, seed), args.set)
        for seed in range(args.folds)
    ]
    parts, found = folds(opening.open_data(configs[0])), []
    for config, part in zip(tqdm(configs, 'folds'), parts, strict=False):
        if args.model == BAG:
            found.append(bag_of_words(part, args.context))
        else:
            base = args.workdir / args.dataset / 'base'
            found.append(reward_model(part, config, base))
    each = ', '.join(f'{auc:.3f}' for auc in found)
    print(f'{args.dataset}, {args.model}: {statistics.mean(found):.3f} ({each})')


if __name__ == '__main__':
    try:
        main()
    except Stopped as stop:
        sys.exit(f'{stop}; the same command begins anew')
    except UserError as error:
        sys.exit(f'error: {error}')
