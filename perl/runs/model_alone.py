"""A model without a run: its tokenizer, its decoder, its base."""

import pathlib
from collections.abc import Sequence

from perl.adapters import bundle, peft
from perl.data import chat
from perl.models.files import located
from perl.runs.base import over, tokenizer_of
from perl.runs.opening import open_finished
from perl.runs.run import Run
from perl.runs.tokenizer import with_template
from perl.system.errors import UserError, renamed
from perl.weights import QUANTISATIONS

# printed where a model without a run gets messages and --chat was not given
AS_LEARNED = '; prompts are rendered with the chat template, as it was trained'


def open_one(
    workdir: str, model: str, adapter: str = '', converses: bool = False
) -> Run:
    """A finished run, or a model alone, as one of two flags names it.

    Args:
        workdir: of the run; '' for a model alone.
        model, adapter, converses: see `open_alone`.

    Raises:
        UserError: both or none is given, or what it names cannot be opened.
    """
    if bool(workdir) == bool(model):
        raise UserError(
            '--workdir or --model is required: give a run folder or a model'
        )
    if not workdir:
        return open_alone(model, adapter, converses)
    run = open_finished(workdir)
    if converses and not isinstance(run.tokenizer, chat.ChatTokenizer):
        run.tokenizer = with_template(run.tokenizer, run.config.model.path)
    return run


@renamed('model.path', '--model')
def open_alone(path: str, adapter: str = '', converses: bool = False) -> Run:
    """A model as the base of a run that has no stages and no data.

    A text to be scored may have 1,024 tokens of prompt and as many of response, or
    half the window of the model.

    Args:
        path: whatever `model.path` may name (docs/models.md).
        adapter: a folder that is to sit on it; the base is stored in as few bits as
            that of a bundle was.
        converses: whether its chat template is read; it is where the adapter was
            trained on messages.

    Raises:
        UserError: it is not there, damaged, or brings no tokenizer, or a chat template
            that cannot be used.
    """
    if not located(path).exists():
        raise UserError(f'--model: {path} is not there; give a folder or a file')
    if adapter not in ('', 'base') and not pathlib.Path(adapter).is_dir():
        raise UserError(
            f'--adapter: {adapter} is not there; give the folder of an adapter'
        )
    tokenizer = tokenizer_of(path)
    learned = learned_messages(adapter)
    if converses or learned:
        tokenizer = with_template(tokenizer, path)
    if learned and not isinstance(tokenizer, chat.ChatTokenizer):
        raise UserError(
            f'--adapter: {adapter} was trained on messages, and the model has no chat '
            'template; put chat_template.jinja beside the tokenizer of the model'
        )
    return over(path, tokenizer, quantization=_stored(adapter))


def _stored(adapter):
    """How the base was stored that a bundle was trained on, as its fingerprint says."""
    if not (adapter and bundle.exists(pathlib.Path(adapter))):
        return 'none'
    said = bundle.load(pathlib.Path(adapter))[1].base.partition('-')[2]
    return said if said in QUANTISATIONS else 'none'


def learned_messages(adapter: str) -> bool:
    """Whether a folder says that its adapter was trained on messages; of those of PEFT
    only a reward model that was written here can."""
    folder = pathlib.Path(adapter)
    if adapter and bundle.exists(folder):
        return bundle.load(folder)[1].chat
    return bool(adapter) and peft.is_peft(folder) and peft.learned_messages(folder)


def reads_messages(run: Run) -> bool:
    """Whether prompts are messages to the models of a run: its data have some, or it is
    a model alone whose chat template is read."""
    alone = not run.config.stages and isinstance(run.tokenizer, chat.ChatTokenizer)
    return alone or chat.has_messages(run.dataset)


def conversations(run: Run, prompts: Sequence[str], every: bool = True) -> list[str]:
    """Prompts as messages: one turn of a user each, or the turns of a dialog of
    Anthropic HH. Prompts that are messages stay as they are; without `every`, so do the
    others. Where there are messages, the run gets the chat template of its model.

    Raises:
        UserError: the model has no chat template.
    """
    if not (every or any(isinstance(x, chat.Chat) for x in prompts)):
        return [*prompts]
    if not isinstance(run.tokenizer, chat.ChatTokenizer):
        run.tokenizer = with_template(run.tokenizer, run.config.model.path)
    if not isinstance(run.tokenizer, chat.ChatTokenizer):
        raise UserError(
            '--chat: the model has no chat template; leave the flag and messages out, '
            'or put chat_template.jinja beside the tokenizer of the model'
        )
    return [*map(chat.as_messages, prompts)] if every else [*prompts]
