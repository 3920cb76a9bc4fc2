"""Responses by our vLLM engine against plain `vllm.LLM.generate` on the same requests: `python -m benchmarks.rollouts`.

Two processes hold one engine each, with the same engine arguments, and take turns.
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.models import EMBEDDED, SHAPES, model_config, write_model
from benchmarks.outcome import Spread, arguments, interleaved, print_table, write_outcome
from benchmarks.processes import fresh_process
from rl_core.types import Request

OURS, PLAIN, WITHOUT = "ours", "plain", "plain, no log-probabilities"
PROMPT_TOKENS = (16, 48)  # shortest and longest
AIM = 0.97


@dataclass(frozen=True, slots=True)
class Taken:
    """One pass over all requests."""

    seconds: float
    cpu_seconds: float  # of all threads: less at the mercy of what else runs
    responses: list[list[int]]

    @property
    def tokens_per_second(self) -> float:
        return sum(map(len, self.responses)) / self.seconds


Generate = Callable[[Sequence[Request]], list[list[int]]]
_ways: dict[str, Generate] = {}  # of this process


def start_ours(folder: Path, context_tokens: int, max_sequences: int) -> None:
    """Give this process our engine."""
    from rl_core.config import RolloutConfig
    from rl_core.config.models import PolicyConfig
    from rl_core.rollout.choose import choose_engine
    from rl_core.rollout.engine import Sampling
    from rl_core.rollout.start import start_engine
    from rl_core.world import World

    rollout = RolloutConfig(engine="vllm")
    engine = start_engine(
        choose_engine(rollout),
        folder,
        PolicyConfig(model_name=str(folder)),
        rollout,
        context_tokens=context_tokens,
        max_concurrent_sequences=max_sequences,
        beside_learner=False,
        world=World.join(),
    )
    _ways[OURS] = lambda requests: [done.token_ids for done in engine.generate(requests, Sampling())]


def start_plain(folder: Path, context_tokens: int, max_sequences: int) -> None:
    """Give this process vLLM's own class, with the engine arguments that ours takes, used as its documentation does."""
    from vllm import LLM, SamplingParams

    from rl_core.config.models import PolicyConfig
    from rl_core.config.rollout import VllmConfig
    from rl_core.models.load import compute_dtype
    from rl_core.rollout.vllm_settings import engine_arguments
    from rl_core.world import World

    world = World.join()
    settings = engine_arguments(
        folder,
        VllmConfig(),
        dtype=compute_dtype(PolicyConfig(model_name=str(folder)), world.device),
        context_tokens=context_tokens,
        max_concurrent_sequences=max_sequences,
        beside_learner=False,
        world=world,
    )
    llm = LLM(**settings)

    def generate(requests: Sequence[Request], logprobs: int | None) -> list[list[int]]:
        prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
        params = [
            SamplingParams(seed=request.seed, max_tokens=request.max_new_tokens, logprobs=logprobs, detokenize=False)
            for request in requests
        ]
        return [list(output.outputs[0].token_ids) for output in llm.generate(prompts, params, use_tqdm=False)]

    _ways[PLAIN] = lambda requests: generate(requests, 0)
    _ways[WITHOUT] = lambda requests: generate(requests, None)


def take(way: str, requests: Sequence[Request]) -> Taken:
    """One pass, in the process that has the way."""
    start, cpu_start = time.perf_counter(), time.process_time()
    responses = _ways[way](requests)
    return Taken(time.perf_counter() - start, time.process_time() - cpu_start, responses)


def draw_requests(model: str, num_prompts: int, num_samples: int, max_tokens: int) -> list[Request]:
    """Groups with a prompt of random tokens each, every request with its own seed."""
    draw, vocabulary = random.Random(0), model_config(model).vocab_size
    prompts = [tuple(draw.choices(range(vocabulary), k=draw.randint(*PROMPT_TOKENS))) for _ in range(num_prompts)]
    return [
        Request(prompt, max_tokens, seed=index * num_samples + sample)
        for index, prompt in enumerate(prompts)
        for sample in range(num_samples)
    ]


def main() -> None:
    """Let the engines take turns on the same requests, print and keep the figures."""
    parser = arguments("rollouts", __doc__)
    parser.add_argument("--model", choices=SHAPES, default=EMBEDDED)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8, help="responses to each prompt")
    parser.add_argument("--max-tokens", type=int, default=96, help="limit of a response")
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    taken_under = circumstances()
    engine = (PROMPT_TOKENS[1] + options.max_tokens, options.prompts * options.samples)
    with tempfile.TemporaryDirectory() as folder, fresh_process() as ours, fresh_process() as plain:
        ours.submit(write_model, options.model, Path(folder)).result()
        sizes = (options.prompts, options.samples, options.max_tokens)
        requests = ours.submit(draw_requests, options.model, *sizes).result()
        ours.submit(start_ours, Path(folder), *engine).result()
        plain.submit(start_plain, Path(folder), *engine).result()
        works = {
            name: partial(_turn, process, name, requests)
            for name, process in {OURS: ours, PLAIN: plain, WITHOUT: plain}.items()
        }
        interleaved(works, 1)
        taken = interleaved(works, options.repetitions)
    equal = [a == b for a, b in zip(taken[OURS][0].responses, taken[PLAIN][0].responses, strict=True)]
    print_table(f"Rollouts: {len(requests)} requests", _rows(taken))
    print(f"{sum(equal)} of {len(equal)} responses are the same tokens; aim: {AIM} of plain")
    figures = {"requests": len(requests), "equal_responses": sum(equal), "rows": _rows(taken)}
    write_outcome(options.json, figures, taken_under)


def _turn(process: ProcessPoolExecutor, way: str, requests: Sequence[Request]) -> Taken:
    return process.submit(take, way, requests).result()


def _rows(taken: dict[str, list[Taken]]) -> list[dict[str, object]]:
    rates = {way: Spread.of([one.tokens_per_second for one in passes]) for way, passes in taken.items()}
    return [
        {
            "engine": way,
            "tokens/s": rates[way],
            "of plain": rates[way].median / rates[PLAIN].median,
            "CPU seconds": Spread.of([one.cpu_seconds for one in passes]),
        }
        for way, passes in taken.items()
    ]


if __name__ == "__main__":
    main()
