"""The names of Llama, which most families of transformers share."""

from perl.models.families.names import Name, in_layers

OUTSIDE = (
    Name('model.embed_tokens.weight', ('embed',), 'same'),
    Name('model.norm.weight', ('norm',)),
    Name('lm_head.weight', ('unembed',)),
)
ATTENTION = (
    *(Name(f'self_attn.{x}_proj.weight', (f'attention/{x}',)) for x in 'qkvo'),
    *(Name(f'self_attn.{x}_proj.bias', (f'attention/{x}_bias',)) for x in 'qkvo'),
    *(Name(f'self_attn.{x}_norm.weight', (f'attention/{x}_norm',)) for x in 'qk'),
)
MLP = tuple(
    Name(f'mlp.{x}_proj.{end}', (f'mlp/{x}{ours}',))
    for x in ('gate', 'up', 'down')
    for end, ours in (('weight', ''), ('bias', '_bias'))
)
_INPUT = Name('input_layernorm.weight', ('attention/norm',))
# the norm that Llama has before the MLP bears the name of its place after attention
BEFORE = (_INPUT, Name('post_attention_layernorm.weight', ('mlp/norm',)))
AFTER = (
    Name('post_attention_layernorm.weight', ('attention/post_norm',)),
    Name('post_feedforward_layernorm.weight', ('mlp/post_norm',)),
)
BOTH = (_INPUT, Name('pre_feedforward_layernorm.weight', ('mlp/norm',)), *AFTER)
FUSED = (
    Name('self_attn.qkv_proj.weight', tuple(f'attention/{x}' for x in 'qkv')),
    Name('self_attn.o_proj.weight', ('attention/o',)),
    Name('mlp.gate_up_proj.weight', ('mlp/gate', 'mlp/up')),
    Name('mlp.down_proj.weight', ('mlp/down',)),
)


def llama_names(*inside: Name) -> tuple[Name, ...]:
    """The names of a model whose layers have these."""
    return OUTSIDE + in_layers('model.layers.{}.', *inside)
