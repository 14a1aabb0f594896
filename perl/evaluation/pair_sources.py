"""The sources of pairs that a judge labels: a file, a dataset or a policy."""

import pathlib
from collections.abc import Mapping, Sequence

from perl.data.records import Comparison, Dataset, pairs
from perl.data.sets.own_files.one_file import read_comparisons
from perl.evaluation.sampled_pairs import sample_pairs
from perl.rollout.choosing import Sampling
from perl.runs.run import Run
from perl.system.errors import UserError


def of_file(file: str, columns: Mapping[str, str]) -> list[Comparison]:
    """The pairs of a file of comparisons, in its order.

    Args:
        file: JSONL, CSV, TSV or Parquet.
        columns: the names of its columns, by field.
    """
    comparisons = read_comparisons(file, columns)
    return [pair for row in comparisons for pair in pairs(row)]


def of_dataset(dataset: Dataset, split: str) -> list[Comparison]:
    """The pairs of a split of a dataset.

    Raises:
        UserError: it has none.
    """
    comparisons = [pair for row in dataset.comparisons[split] for pair in pairs(row)]
    if not comparisons:
        raise UserError(
            f'{dataset.name} has no comparisons in its {split} split; give another '
            'split, or --sample'
        )
    return comparisons


def of_policy(
    run: Run,
    adapter: str,
    prompts: Sequence[str],
    sampling: Sampling,
    file: pathlib.Path,
    seed: int = 0,
) -> list[Comparison]:
    """Two responses of a policy to each of n prompts; a pair with equal responses or
    with an empty one is left out.

    Args:
        run: the run of the policy.
        adapter: the policy: a stage, an adapter folder, or `base`.
        prompts: the prompts.
        sampling: how tokens are chosen.
        file: the file that stores the pairs.
        seed: seed of the samples.

    Raises:
        UserError: there are no prompts, or no pair is left.
    """
    if not prompts:
        raise UserError(f'{run.dataset.name} has no prompts in this split')
    role = run.source('base') if adapter == 'base' else run.role(adapter)
    sampled = sample_pairs(run, role, prompts, sampling, file, seed)
    useful = [pair for pair in sampled if _is_useful(*pair.completions)]
    if not useful:
        raise UserError(
            f'--sample: {adapter} gave the same response twice or an empty one to each '
            f'of {len(sampled)} prompts; sample at a higher --temperature'
        )
    dropped = len(sampled) - len(useful)
    print(f'sampled {len(sampled)} pairs; {dropped} are equal or empty', flush=True)
    return useful


def _is_useful(first, second):
    return bool(first.strip() and second.strip() and first != second)
