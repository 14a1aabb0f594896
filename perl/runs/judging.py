"""Opens the judge that a name stands for: one function for every command and stage.

| name | the judge |
|---|---|
| a stage or folder | a reward model, an average or an ensemble |
| a folder of a classifier | a reward model of another project |
| `gold` | the exact reward of the dataset |
| `module:function` | a Python function of a user |
| `endpoint` | a language model behind an OpenAI-compatible server |
| `model` | a language model of the run: its base or an adapter |
| `annotators` | the simulated annotators of the dataset, which only compare |
| `recorded` | a file of answers |
"""

import dataclasses
import pathlib
from typing import Any

from perl import config as configs
from perl.config import lineage
from perl.data.records import Dataset
from perl.data.sets import table
from perl.judges import annotators, functions, recorded
from perl.judges.language import choose, questions
from perl.judges.language.answers import Answers
from perl.judges.language.model import Model
from perl.judges.names import KNOWN
from perl.judges.reward import Judge, each, preference, scores
from perl.models import bases
from perl.runs import classifiers, reward_models
from perl.runs.judge_settings import Settings, of_config
from perl.runs.roles import identity
from perl.runs.run import Run
from perl.system import hosts
from perl.system.errors import UserError
from perl.system.suggest import near_miss


def open_judge(
    name: str, run: Run | None = None, settings: Settings | None = None
) -> Judge:
    """The judge of a name.

    Args:
        name: see the table above.
        run: needed for a reward model, `gold` and `model`.
        settings: what the judge needs beside its name.

    Raises:
        UserError: there is no such judge, or a setting that it needs is missing or
            wrong.
    """
    settings = settings or Settings()
    if name in _OPEN:
        return _OPEN[name](run, settings)
    if functions.named(name):
        return scoring(name, hosts.of_first(functions.load(name)))
    if bases.is_classifier(name):
        return scoring(name, classifiers.load(name, run and run.mesh)[1])
    if run is None:
        raise UserError(
            f'no judge {name!r}{near_miss(name, KNOWN)}; a reward model needs the run '
            'folder that it is in'
        )
    _check_named(run, name)
    panel = reward_models.load_panel(run, name)
    return scoring(name, reward_models.on_texts(run, panel, name), panel=panel)


def open_reward(run: Run, stage: str) -> Judge | None:
    """The reward of a policy's stage, which its config names: `reward`, with the
    settings of `judge`. The answers of a language model are kept in its folder. None
    for a DPO stage that names no reward.

    Raises:
        UserError: as `open_judge`, or the judge can only compare.
    """
    config = run.config[lineage.origin(run.config, stage)]
    if not config.reward:
        return None
    settings = of_config(config, run.workdir / stage / 'ratings.jsonl')
    reward = open_judge(config.reward, run, settings)
    scores(reward)
    return reward


def scoring(name: str, reward: Any, **more: Any) -> Judge:
    """The judge that has a reward, and prefers the response with the higher one."""
    return Judge(name, preference(reward), reward, **more)


def _gold(run, settings):
    if run is None:
        raise UserError('gold: it is the exact reward of a dataset; give a run folder')
    return scoring('gold', hosts.of_first(each(exact(run.dataset))))


def exact(dataset: Dataset) -> Any:
    """The exact reward of (prompt, response).

    Raises:
        UserError: the dataset has none.
    """
    if dataset.gold is None:
        raise UserError(
            f'gold: {dataset.name} has no exact reward; name a reward model or another '
            'judge'
        )
    return dataset.gold


def _check_named(run, name):
    """Raises a `UserError` where a name is neither a stage of the run nor a folder."""
    stages = configs.known_stages(run.config)
    if name in stages or pathlib.Path(name).is_dir():
        return
    rewards = [x for x in stages if lineage.makes(run.config, x) == 'reward']
    raise UserError(
        f'no judge {name!r}: it is neither a stage, nor a folder, nor module:function'
        f'{near_miss(name, [*rewards, *KNOWN])}'
    )


def _endpoint(run, settings):
    from perl.judges.language.client import Client
    from perl.judges.language.endpoint import Endpoint

    if not settings.url or not settings.model:
        raise UserError('an endpoint needs its address and the name of a model there')
    client = Client(settings.url, **settings.client)
    answers = Answers(settings.answers)
    asked = Endpoint(client, settings.model, answers, **settings.endpoint)
    judge = _language('endpoint', asked, settings)
    return dataclasses.replace(
        judge,
        preference=hosts.of_first(judge.preference),
        reward=hosts.of_first(judge.reward),
    )


def _model(run, settings):
    if run is None:
        raise UserError('a model that judges needs the run folder it is in')
    name = settings.model or 'base'
    role = run.source('base') if name == 'base' else run.role(name)
    asked = Model(
        run.arch,
        role.bound(),
        run.tokenizer,
        run.config.evaluation.batch_size,
        run.multiple,
        Answers(settings.answers),
        f'{name}@{identity(role)}',
    )
    return _language('model', asked, settings)


def _language(name, asked, settings):
    """A language model as a judge: other questions for one response and for two."""
    return Judge(
        name,
        choose.preference(asked, questions.pairwise(settings.template)),
        choose.reward(asked, settings.rating),
        report=asked.report,
        model=settings.model,
    )


def _annotators(run, settings):
    data = run.config.data.name if run else ''
    people = table.annotators(data, settings.flip, settings.seed)
    return Judge('annotators', annotators.preference(people))


def _recorded(run, settings):
    if not settings.file:
        raise UserError('recorded answers need the file that they are in')
    if recorded.has_ratings(settings.file):
        return scoring('recorded', recorded.reward(settings.file))
    return Judge('recorded', recorded.preference(settings.file))


_OPEN = {
    'gold': _gold,
    'endpoint': _endpoint,
    'model': _model,
    'annotators': _annotators,
    'recorded': _recorded,
}
