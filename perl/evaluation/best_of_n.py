"""Tests a reward model by the gold reward of the best of n samples it chooses."""

from typing import Any

import numpy as np

from perl.evaluation.answers import answer
from perl.evaluation.figures import best_of_n_estimate, over_optimisation
from perl.evaluation.figures.clusters import of_prompts
from perl.judges import Judge, each
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system.errors import UserError

MOST = 2**16  # samples of a prompt


def check(run: Run, split: str, samples: int) -> None:
    """Raises a `UserError` if there is no gold reward, no prompt, or if `samples` is
    less than 4 or more than `MOST`."""
    if run.dataset.gold is None:
        raise UserError(
            f'--best_of: {run.dataset.name} has no gold reward to compare the reward '
            'model with; leave the flag out'
        )
    if not run.dataset.prompts[split]:
        raise UserError(f'{run.dataset.name} has no prompts in its {split} split')
    if samples < 4:
        raise UserError(f'--best_of: {samples} samples are too few; give 4 or more')
    if samples > MOST:
        raise UserError(f'--best_of: {samples} samples are more than {MOST}')


def best_of_n(
    run: Run, role: Role, proxy: Judge, split: str, samples: int
) -> dict[str, Any]:
    """The gold reward of the proxy's best of n, as a function of n.

    Args:
        run: a run with a dataset that has a gold reward.
        role: the policy to sample from.
        proxy: the judge that chooses, such as a reward model.
        split: the split of the prompts; the first `evaluation.prompts` are used.
        samples: N, the samples per prompt; n is 1, 2, 4, ... up to N.

    Returns:
        prompts, samples, sizes (values of n), start (mean rewards at n = 1), and
        curves: for `reward` and `gold` the kl and the gain over the start for each n,
        and the fit.

    Raises:
        UserError: as `check` does.
    """
    check(run, split, samples)
    prompts = run.dataset.prompts[split][: run.config.evaluation.prompts]
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    answers = answer(run, prompts, role, role, proxy, seed=3, samples=samples)
    shape = len(prompts), samples
    values = {
        'reward': _chosen_by(answers.rewards).reshape(shape),
        'gold': each(run.dataset.gold)(repeated, answers.texts).reshape(shape),
    }
    clusters = of_prompts(prompts, run.dataset.prompt_groups)
    sizes = [2**i for i in range(samples.bit_length())]
    kl = best_of_n_estimate.best_of_n_kl(sizes)
    return {
        'prompts': len(prompts),
        'samples': samples,
        'sizes': sizes,
        'start': {name: float(x.mean()) for name, x in values.items()},
        'curves': {
            name: _curve(values['reward'], x, sizes, kl, clusters)
            for name, x in values.items()
        },
    }


def _chosen_by(rewards):
    """Rewards as float64; a response without a verdict gets the lowest reward."""
    return np.where(np.isnan(rewards), np.nanmin(rewards), rewards).astype(np.float64)


def _curve(proxy, values, sizes, kl, clusters):
    gain = best_of_n_estimate.best_of_n_curve(proxy, values, sizes)
    return {
        'kl': kl.tolist(),
        'gain': gain.mean(0).tolist(),
        'fit': over_optimisation.fit_metrics('best_of_n', kl, gain, clusters),
    }
