"""PEFT and transformers beside `perl`: a reward step, or sampling, in plain PyTorch.

    python scripts/benchmarks/peft_gpu.py --workload=generate --dtype=bfloat16 ...

The flags are those of `scripts/benchmark.py`, and `--remat` is PyTorch's gradient
checkpointing. It runs on the first GPU, or on the CPU where there is none, from random
weights that are drawn on the device. One JSON row last.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

MODULES = ['q_proj', 'k_proj', 'v_proj', 'o_proj']


def parse() -> argparse.Namespace:
    """The flags, with the defaults of the peers' scripts."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--workload', choices=['reward', 'generate'], default='reward')
    flags.add_argument('--dtype', default='float32')
    for name, value in {
        'd': 256, 'layers': 4, 'heads': 4, 'kv_heads': 0, 'ff': 688, 'vocab': 4096,
        'rank': 8, 'seq': 256, 'pairs': 8, 'steps': 20, 'prompt': 128, 'new': 128,
        'batch': 16, 'calls': 12, 'warmup': 3,
    }.items():  # fmt: skip
        flags.add_argument(f'--{name}', type=int, default=value)
    flags.add_argument('--temperature', type=float, default=1.0)
    flags.add_argument('--remat', action='store_true')
    return flags.parse_args()


def main() -> None:
    """Measures the workload."""
    import torch

    args = parse()
    on_gpu = torch.cuda.is_available()
    device = 'cuda' if on_gpu else 'cpu'
    torch.manual_seed(0)
    call = {'reward': reward, 'generate': generate}[args.workload](args, device)
    calls = args.steps if args.workload == 'reward' else args.calls
    times = [seconds(call, on_gpu) for _ in range(args.warmup + calls)]
    median = statistics.median(times[args.warmup :])
    if args.workload == 'reward':
        name, pace = 'seconds_per_step', {'pairs_per_s': args.pairs / median}
    else:
        tokens = args.batch * args.new
        name, pace = 'seconds_per_call', {'tokens_per_s': tokens / median}
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0
    row = {
        'system': 'peft' if args.rank else 'transformers',
        'workload': args.workload,
        'dtype': args.dtype,
        'rank': args.rank,
        name: round(median, 4),
        **{key: round(x, 2) for key, x in pace.items()},
        **({'peak_device_mb': round(memory)} if on_gpu else {}),
        'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
        'torch': torch.__version__,
    }
    print(json.dumps(row))


def seconds(call: Callable[[], Any], on_gpu: bool) -> float:
    """Of one call, until the device has finished."""
    import torch

    began = time.perf_counter()
    call()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def model(args: argparse.Namespace, device: str, kind: str) -> Any:
    """A Llama of random weights on the device, with adapters where there is a rank."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    config = transformers.LlamaConfig(
        vocab_size=args.vocab,
        hidden_size=args.d,
        intermediate_size=args.ff,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads or args.heads,
        max_position_embeddings=max(4096, args.seq),
        num_labels=1,
        pad_token_id=args.vocab - 1,
    )
    name, task = {
        'reward': ('LlamaForSequenceClassification', 'SEQ_CLS'),
        'generate': ('LlamaForCausalLM', 'CAUSAL_LM'),
    }[kind]
    torch.set_default_dtype(getattr(torch, args.dtype))
    with torch.device(device):
        network = getattr(transformers, name)(config)
        torch.set_default_dtype(torch.float32)
        if args.rank:
            lora = LoraConfig(
                r=args.rank,
                lora_alpha=args.rank,
                target_modules=MODULES,
                task_type=task,
            )
            network = get_peft_model(network, lora)
    return network


def reward(args: argparse.Namespace, device: str) -> Callable[[], Any]:
    """A step of reward training on `--pairs` pairs of `--seq` tokens."""
    import torch

    network = model(args, device, 'reward')
    if args.remat:
        network.gradient_checkpointing_enable({'use_reentrant': False})
    network.train()
    trained = [x for x in network.parameters() if x.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device == 'cuda')
    shape = 2 * args.pairs, args.seq
    tokens = torch.randint(10, args.vocab - 1, shape, device=device)

    def call():
        scores = network(input_ids=tokens, use_cache=False).logits[:, 0].float()
        margins = scores[: args.pairs] - scores[args.pairs :]
        loss = -torch.nn.functional.logsigmoid(margins).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call


def generate(args: argparse.Namespace, device: str) -> Callable[[], Any]:
    """Sampling of `--new` tokens after each of `--batch` prompts."""
    import torch

    network = model(args, device, 'generate').eval()
    network.generation_config.eos_token_id = None  # no early stop
    shape = args.batch, args.prompt
    prompts = torch.randint(10, args.vocab - 2, shape, device=device)

    def call():
        with torch.inference_mode():
            network.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                temperature=args.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=args.new,
            )

    return call


if __name__ == '__main__':
    main()
