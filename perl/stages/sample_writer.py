"""Shows what a policy says while it is trained: a few responses in `samples.jsonl`."""

from collections.abc import Callable, Sequence

import jax

from perl.data.chat import stops
from perl.evaluation.responses import respond
from perl.rollout.sampler import Sampling
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import samples

PROMPTS = 4


def sample_writer(
    run: Run, stage: str, prompts: Sequence[str]
) -> Callable[[Role, int], None]:
    """A function `(policy, step)`, steps counted from 1, that appends responses to the
    first `PROMPTS` of the given held-out prompts.

    They are a function of the seed, the stage and the step, so that a run that was
    stopped writes the same.
    """
    prompts = prompts[:PROMPTS]
    sampling = Sampling(
        run.config.lengths.response,
        stops(run.tokenizer),
        run.config.evaluation.temperature,
    )
    folder, stage_key = run.workdir / stage, run.key(f'{stage}/samples')

    def write(role, step):
        if not prompts:
            return
        key = jax.random.fold_in(stage_key, step)
        texts = respond(run, role.bound(), prompts, sampling, key)
        samples.append(
            folder,
            [
                {'step': step, 'prompt': prompt, 'response': text}
                for prompt, text in zip(prompts, texts, strict=True)
            ],
        )

    return write
