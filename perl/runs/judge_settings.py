"""The settings of a judge, of whatever kind it is."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from perl.judges.language import questions


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a judge needs beside its name; each reads only what concerns it.

    Attributes:
        template: of the question about two responses, see `questions.pairwise`.
        rating: of the question about one response.
        answers: the file where the answers of a language model are kept.
        file: of recorded answers.
        url: of an endpoint.
        model: the name of a model at the endpoint; of a `model` a stage, an adapter
            folder, or base.
        client: further settings of `Client`: key_env, timeout, retries.
        endpoint: further settings of `Endpoint`: max_tokens, logprobs, again,
            concurrency, extra.
        flip: how often an annotator errs.
        seed: of the annotators.
    """

    template: str = 'generic'
    rating: questions.Template = questions.SCORE
    answers: pathlib.Path | None = None
    file: str = ''
    url: str = ''
    model: str = ''
    client: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    endpoint: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flip: float = 0.25
    seed: int = 0


def of_config(stage: Any, answers: pathlib.Path | None = None) -> Settings:
    """The settings in the section `judge` of a stage, where it has one."""
    section = stage.get('judge', {})
    return Settings(
        answers=answers,
        url=section.get('url', ''),
        model=section.get('model', ''),
        client={'key_env': section.get('key_env', '')},
    )
