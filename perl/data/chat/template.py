"""Chat templates, rendered as transformers renders them."""

from collections.abc import Mapping, Sequence

import jinja2

from perl.data.chat.sandbox import CLOSE, OPEN, budget, environment
from perl.system import jsonl
from perl.system.errors import UserError

Messages = Sequence[tuple[str, str]]
_MOST = 100  # characters of the reason of an error


class Template:
    """A chat template: a program in the language of jinja2, run in its sandbox.

    Args:
        source: its text.
        bos, eos: the texts of the tokens that it knows as `bos_token`, `eos_token`.
        name: where it comes from, for errors.

    Raises:
        UserError: it is not a template.
    """

    def __init__(self, source: str, bos: str = '', eos: str = '', name: str = ''):
        self.source, self.bos, self.eos = source, bos, eos
        self.name = f'chat template {name}' if name else 'chat template'
        try:
            self._template = environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise self.error(
                f'line {error.lineno} is not jinja2 ({_short(error)}); fix it, or set '
                'tokenizer.chat_template to another file'
            ) from error

    def render(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """The text of messages, (role, content) pairs.

        Args:
            messages: the conversation.
            add_generation_prompt: whether the start of an assistant's turn follows.

        Raises:
            UserError: the template raises an error.
        """
        text = self.marked(messages, add_generation_prompt)
        return text.replace(OPEN, '').replace(CLOSE, '')

    def marked(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """`render`, with `OPEN` and `CLOSE` around each `{% generation %}` block."""
        rows = [{'role': role, 'content': content} for role, content in messages]
        try:
            return self._template.render(
                messages=rows,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                bos_token=self.bos,
                eos_token=self.eos,
                **budget(),
            )
        except Exception as error:  # a template is a program and may raise anything
            raise self.error(
                f'it raises an error at these messages: {_short(error)}'
            ) from error

    def error(self, what: str) -> UserError:
        """An error that names this template."""
        return UserError(f'{self.name}: {what}')


def of_files(files: Mapping[str, bytes], name: str = '') -> Template | None:
    """The template in the files of a tokenizer; None where there is none.

    Args:
        files: contents by the names that Hugging Face gives them. The template is
            `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`: a
            text, or a list of named templates, of which `default` is taken.
        name: where they come from, for errors.

    Raises:
        UserError: a file is damaged, or the list has no template named default.
    """
    try:
        source = files.get('chat_template.jinja', b'').decode()
    except ValueError as error:
        raise UserError(
            f'{name}: its chat_template.jinja is damaged ({error}); copy it again'
        ) from error
    content = files.get('tokenizer_config.json', b'{}')
    config = jsonl.as_object(content, f'{name}, tokenizer_config.json')
    source = source or config.get('chat_template')
    if isinstance(source, list):
        named = {row.get('name'): row.get('template') for row in source}
        if 'default' not in named:
            raise UserError(
                f'{name}: it has the chat templates {", ".join(map(str, named))} and '
                'none named default; write one into a file and set '
                'tokenizer.chat_template'
            )
        source = named['default']
    if not source:
        return None
    tokens = [_text(config.get(f'{role}_token')) for role in ('bos', 'eos')]
    return Template(source, *tokens, f'of {name}' if name else '')


def _text(token: object) -> str:
    """The text of a token, which may be an object with its content."""
    token = token.get('content') if isinstance(token, dict) else token
    return token if isinstance(token, str) else ''


def _short(error: Exception) -> str:
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST else f'{text[:_MOST]}…'
