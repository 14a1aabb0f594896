"""Whether a policy is judged by the reward that trained it, whatever their names.

A reward model has several names: its stage, its folder, a copy of the folder. And an
ensemble or an average is made of reward models that can be asked alone. So reward
models are told apart by the bytes of their adapters.
"""

import pathlib

from perl import config as configs
from perl.adapters import bundle
from perl.config import lineage, rewards
from perl.judges import Judge
from perl.runs import ensembles, reward_models
from perl.runs.run import Run
from perl.system import arrays, jsonl


def stage_of(run: Run, policy: str) -> str:
    """The stage whose adapter folder a policy names; every other name as it is."""
    stages = {(run.workdir / x / 'adapter').resolve(): x for x in run.config.stages}
    return stages.get(pathlib.Path(policy).resolve(), policy) if policy else ''


def trained_by(run: Run, policy: str) -> tuple[str, str] | None:
    """Whose rewards trained a policy, as `lineage.trained_by`; None where nobody knows.

    Args:
        run: that the policy is of.
        policy: a stage, or a folder: of a stage of this run, or a copy of one.
    """
    if policy in run.config.stages:
        return lineage.trained_by(run.config, policy)
    same = _adapters(run, policy)
    for stage in reward_models.finished(run, 'policy'):
        if same & _adapters(run, stage):
            return lineage.trained_by(run.config, stage)
    return None


def taught(run: Run, teacher: tuple[str, str], judge: Judge) -> bool:
    """Whether a judge is, or has a reward model in common with, the reward that trained
    a policy.

    Args:
        run: that both are of.
        teacher: of `trained_by`.
        judge: who decides.
    """
    if teacher == (judge.name, judge.model):
        return True
    theirs, ours = (
        _adapters_of(run, *teacher),
        _adapters_of(run, judge.name, judge.model),
    )
    return theirs[0] == ours[0] and not theirs[1].isdisjoint(ours[1])


def _adapters_of(run, name, model):
    """Whether a language model is asked for its opinion, and the adapters of a judge:
    none of a judge that has no adapters."""
    if name == 'model':
        return True, _adapters(run, model) if model else set()
    models = bool(name) and rewards.by_models(name)
    return False, _adapters(run, name) if models else set()


def _adapters(run: Run, name: str) -> set[str]:
    """The sha256 of every adapter that a stage or folder has, or is made of."""
    if name in configs.known_stages(run.config):
        folder, parts = run.workdir / name, run.config[name].get('of', ())
    else:
        folder = pathlib.Path(name)
        card = folder / ensembles.CARD
        of = jsonl.load(card)['of'] if card.is_file() else ()
        parts = [str(folder.parent / part / 'adapter') for part in of]
    files = (folder / 'adapter' / bundle.ARRAYS, folder / bundle.ARRAYS)
    found = {arrays.digest(file) for file in files if file.is_file()}
    return found.union(*(_adapters(run, part) for part in parts))
