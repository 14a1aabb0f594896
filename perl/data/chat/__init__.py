"""Conversations: messages, the chat template of a model, and the token ids of both."""

from perl.data.chat.encoding import encode, end_of_turn, prompt_ids
from perl.data.chat.messages import (
    Chat,
    as_messages,
    as_trained,
    from_dialog,
    has_messages,
    wrap,
)
from perl.data.chat.template import Messages, Template, of_files
from perl.data.chat.tokenizer import ChatTokenizer, is_saved, saved, stops

__all__ = [
    'Chat',
    'ChatTokenizer',
    'Messages',
    'Template',
    'as_messages',
    'as_trained',
    'encode',
    'end_of_turn',
    'from_dialog',
    'has_messages',
    'is_saved',
    'of_files',
    'prompt_ids',
    'saved',
    'stops',
    'wrap',
]
