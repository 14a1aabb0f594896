"""Makes small tokenizers of every form that puts a space before a text, in memory."""

import io
import json
import struct

import sentencepiece
import tokenizers as hf

CORPUS = [
    'TL;DR: A short one. The cat sat on a mat.\nOnce upon a time, a cat sat.',
    'SUBREDDIT: r/cats  TITLE: A cat\nTL;DR: The cat is on the mat.',
] * 10
SPECIAL = {'pad': '<pad>', 'bos': '<s>', 'eos': '</s>'}
_BYTES = [f'<0x{byte:02X}>' for byte in range(256)]


def llama2c(pieces=(' ', 'c', 'a', 't', ' c', 'at', ' cat')) -> bytes:
    """A `tokenizer.bin`; later pieces merge first."""
    names = [b'<unk>', b'\n<s>\n', b'\n</s>\n', *(b'<0x00>',) * 256]
    names += [piece.encode() for piece in pieces]
    body = (
        struct.pack('<fi', float(score), len(name)) + name
        for score, name in enumerate(names)
    )
    return struct.pack('<i', 7) + b''.join(body)


def sentence_piece(add_dummy_prefix=True, byte_fallback=True, **options) -> bytes:
    """A SentencePiece model in the form of Llama 2 and Mistral."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=340 if byte_fallback else 60,
        model_type='bpe',
        byte_fallback=byte_fallback,
        add_dummy_prefix=add_dummy_prefix,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def metaspace(scheme='always', byte_fallback=True, unk='<unk>') -> hf.Tokenizer:
    """Byte-pair merges of words with the space marked by U+2581."""
    model = hf.Tokenizer(hf.models.BPE(byte_fallback=byte_fallback, unk_token=unk))
    model.pre_tokenizer = hf.pre_tokenizers.Metaspace(prepend_scheme=scheme)
    decoders = [hf.decoders.ByteFallback()] if byte_fallback else []
    decoders.append(hf.decoders.Metaspace(prepend_scheme=scheme))
    model.decoder = hf.decoders.Sequence(decoders)
    special = [*SPECIAL.values(), *([unk] if unk else []), *_BYTES * byte_fallback]
    trainer = hf.trainers.BpeTrainer(vocab_size=360, special_tokens=special)
    model.train_from_iterator(CORPUS, trainer)
    return plain_bytes(model)


def plain_bytes(model: hf.Tokenizer) -> hf.Tokenizer:
    """The bytes as pieces of the vocabulary, not as special tokens."""
    settings = json.loads(model.to_str())
    settings['added_tokens'] = [
        token for token in settings['added_tokens'] if token['content'] not in _BYTES
    ]
    return hf.Tokenizer.from_str(json.dumps(settings))


def llama2() -> hf.Tokenizer:
    """The form of Llama 2: the normalizer puts U+2581 before a text and for a space."""
    model = metaspace()
    model.pre_tokenizer = None
    model.normalizer = hf.normalizers.Sequence(
        [hf.normalizers.Prepend('▁'), hf.normalizers.Replace(' ', '▁')]
    )
    model.decoder = hf.decoders.Sequence(
        [
            hf.decoders.Replace('▁', ' '),
            hf.decoders.ByteFallback(),
            hf.decoders.Fuse(),
            hf.decoders.Strip(' ', 1, 0),
        ]
    )
    return model


def words() -> hf.Tokenizer:
    """The form of T5 and XLM-R: words, each with a space before it."""
    model = metaspace()
    model.pre_tokenizer = hf.pre_tokenizers.Sequence(
        [hf.pre_tokenizers.WhitespaceSplit(), hf.pre_tokenizers.Metaspace()]
    )
    return model


def byte_level(add_prefix_space=True) -> hf.Tokenizer:
    """The form of GPT-2."""
    model = hf.Tokenizer(hf.models.BPE())
    model.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space)
    model.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
    )
    model.train_from_iterator(CORPUS, trainer)
    return model


def older_metaspace() -> str:
    """A tokenizer.json from before there was a `prepend_scheme`."""
    settings = json.loads(metaspace().to_str())
    for step in (settings['pre_tokenizer'], settings['decoder']['decoders'][-1]):
        del step['prepend_scheme']
        step['add_prefix_space'] = True
    return json.dumps(settings)
