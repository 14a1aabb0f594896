"""How far a reward model can be pushed: the gold reward of its best of n samples."""

from typing import Any

import numpy as np

from perl.evaluation.answers import answer
from perl.evaluation.figures import best_of_n_estimate, over_optimisation
from perl.evaluation.figures.clusters import of_prompts
from perl.judges import Judge, each
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system.errors import UserError


def check(run: Run, split: str, samples: int) -> None:
    """Raises a `UserError` without gold reward or prompts, or for N less than 4."""
    if run.dataset.gold is None:
        raise UserError(
            f'--best_of: {run.dataset.name} has no gold reward to hold against the '
            'reward model; leave it out'
        )
    if not run.dataset.prompts[split]:
        raise UserError(f'{run.dataset.name} has no prompts in its {split} split')
    if samples < 4:
        raise UserError(f'--best_of: {samples} samples make no curve; give 4 or more')


def best_of_n(
    run: Run, role: Role, proxy: Judge, split: str, samples: int
) -> dict[str, Any]:
    """How the gold reward of the proxy's best of n grows, and falls, with n.

    Args:
        run: with a dataset that has a gold reward.
        role: the policy to sample from.
        proxy: the judge that chooses, such as a reward model.
        split: of the prompts, the first `evaluation.prompts` of them.
        samples: N of each prompt; n is 1, 2, 4, ... up to N.

    Returns:
        prompts, samples, sizes (of n), start (mean rewards at n = 1) and curves: by
        `reward` and `gold` kl and gain over the start for each n, and fit.

    Raises:
        UserError: as `check`.
    """
    check(run, split, samples)
    prompts = run.dataset.prompts[split][: run.config.evaluation.prompts]
    asked = [prompt for prompt in prompts for _ in range(samples)]
    answers = answer(run, asked, role, role, proxy, seed=3)
    shape = len(prompts), samples
    values = {
        'reward': _chosen_by(answers.rewards).reshape(shape),
        'gold': each(run.dataset.gold)(asked, answers.texts).reshape(shape),
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
    """float64; a response without a verdict counts as one of the worst."""
    return np.where(np.isnan(rewards), np.nanmin(rewards), rewards).astype(np.float64)


def _curve(proxy, values, sizes, kl, clusters):
    gain = best_of_n_estimate.best_of_n_curve(proxy, values, sizes)
    return {
        'kl': kl.tolist(),
        'gain': gain.mean(0).tolist(),
        'fit': over_optimisation.fit_metrics('best_of_n', kl, gain, clusters),
    }
