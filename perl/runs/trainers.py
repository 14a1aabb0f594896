"""Whose rewards trained a policy, and whether a judge is the same."""

import pathlib

from perl import config as configs
from perl.adapters import bundle
from perl.config import lineage
from perl.judges import Judge
from perl.runs import ensembles
from perl.runs.run import Run


def stage_of(run: Run, policy: str) -> str:
    """The stage of a policy that is given as the adapter folder of a stage of the run;
    every other name as it is."""
    stages = {(run.workdir / x / 'adapter').resolve(): x for x in run.config.stages}
    return stages.get(pathlib.Path(policy).resolve(), policy) if policy else ''


def trained_by(run: Run, policy: str) -> tuple[str, str] | None:
    """Whose rewards trained a policy, see `lineage.trained_by`; None for a policy from
    elsewhere."""
    if policy in run.config.stages:
        return lineage.trained_by(run.config, policy)
    return None


def has_trained(
    run: Run, judge: Judge, trained_by: tuple[str, str] | None
) -> bool | None:
    """Whether a judge's rewards are those that a policy was trained to get.

    Args:
        run: that the names are of.
        judge: by whatever name: a reward model may be named by its stage in one place
            and by its folder, or by that of a copy, in another.
        trained_by: see `lineage.trained_by`; None where nobody knows.

    Returns:
        None where nobody knows.
    """
    if trained_by is None:
        return None
    if trained_by == (judge.name, judge.model):
        return True
    ours, theirs = _card(run, judge.name, judge.model), _card(run, *trained_by)
    return ours is not None and ours == theirs


def _card(run, name, model):
    """The bytes of the card of a reward model, or of an adapter that judges; None of
    all other judges."""
    asked = name == 'model'
    name = model if asked else name
    own = name in configs.known_stages(run.config)
    folder = run.workdir / name if own else pathlib.Path(name)
    cards = bundle.CARD, f'adapter/{bundle.CARD}', ensembles.CARD
    for file in (folder / card for card in cards):
        if name and file.is_file():
            return asked, file.read_bytes()
    return None
