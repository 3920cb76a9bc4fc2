"""Our evaluation against plain `vllm.LLM.generate` on the same requests: `python -m benchmarks.evaluation`.

Two processes hold one engine each, with the same engine arguments, and take turns. Ours does all that an evaluation
does: it samples, keeps the samples on disk as they come, marks them and counts; plain vLLM only samples.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.models import EMBEDDED, SHAPES, write_model
from benchmarks.outcome import Spread, arguments, interleaved, print_table, write_outcome
from benchmarks.processes import fresh_process
from benchmarks.rollouts import PROMPT_TOKENS, WITHOUT, draw_requests, start_plain, take
from rl_core.types import Problem, Request

OURS, SAMPLED, PLAIN = "ours, marked and counted", "ours, until the samples are on disk", "plain"
VERIFIER = "boxed"
SEED = 0
AIM = 0.95


@dataclass(frozen=True, slots=True)
class Taken:
    """One evaluation, or one pass of plain vLLM over its requests."""

    seconds: float
    sampled_seconds: float
    tokens: int

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


_evaluate: list[Callable[[], Taken]] = []  # of this process


def start_ours(
    folder: Path, context_tokens: int, max_sequences: int, problems: Sequence[Problem], samples: int, max_tokens: int
) -> None:
    """Give this process our engine, and the evaluation that it does."""
    from transformers import AutoTokenizer

    from rl_core.config import RolloutConfig
    from rl_core.config.evaluation import ProtocolConfig
    from rl_core.config.models import PolicyConfig
    from rl_core.config.rewards import RewardConfig
    from rl_core.evaluation.figures import figures
    from rl_core.evaluation.samples import SampleStore
    from rl_core.evaluation.sampling import sample_missing
    from rl_core.rewards import Scorer
    from rl_core.rollout.choose import choose_engine
    from rl_core.rollout.collect import Limits, scored
    from rl_core.rollout.start import start_engine
    from rl_core.world import World

    rollout, world = RolloutConfig(engine="vllm"), World.join()
    engine = start_engine(
        choose_engine(rollout),
        folder,
        PolicyConfig(model_name=str(folder)),
        rollout,
        context_tokens=context_tokens,
        max_concurrent_sequences=max_sequences,
        beside_learner=False,
        world=world,
    )
    tokenizer, scorer = AutoTokenizer.from_pretrained(folder), Scorer([RewardConfig(name=VERIFIER)])
    protocol = ProtocolConfig(
        num_samples=samples, temperature=1, top_p=1, max_new_tokens=max_tokens, seed=SEED, verifier=VERIFIER
    )
    limits = Limits(max_tokens, context_tokens)
    wanted = [(problem, sample) for problem in problems for sample in range(samples)]

    def evaluate() -> Taken:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as kept:
            store = SampleStore(Path(kept), sampler="vllm", rank=0)
            found = sample_missing(problems, protocol, limits, engine, store, {}, world, "evaluate")
        sampled = time.perf_counter() - start
        completions = [found[problem.index, sample].completion() for problem, sample in wanted]
        figures(scored(wanted, completions, tokenizer, scorer, limits), samples)
        tokens = sum(len(completion.token_ids) for completion in completions)
        return Taken(time.perf_counter() - start, sampled, tokens)

    _evaluate.append(evaluate)


def same_requests(problems: Sequence[Problem], samples: int, max_tokens: int) -> list[Request]:
    """What our evaluation asks its engine for, seeds included."""
    from rl_core.evaluation.sampling import PURPOSE
    from rl_core.world import derive_seed

    return [
        Request(problem.prompt_ids, max_tokens, derive_seed(SEED, PURPOSE, problem.index, sample))
        for problem in problems
        for sample in range(samples)
    ]


def take_ours() -> Taken:
    """One evaluation, in the process that has it."""
    return _evaluate[0]()


def main() -> None:
    """Let both take turns on the same requests, print and keep the figures."""
    parser = arguments("evaluation", __doc__)
    parser.add_argument("--model", choices=SHAPES, default=EMBEDDED)
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--samples", type=int, default=16, help="responses to each problem")
    parser.add_argument("--max-tokens", type=int, default=200, help="limit of a response")
    parser.add_argument("--concurrent", type=int, default=256, help="responses under way at a time")
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    taken_under = circumstances()
    context = PROMPT_TOKENS[1] + options.max_tokens
    with tempfile.TemporaryDirectory() as folder, fresh_process() as ours, fresh_process() as plain:
        ours.submit(write_model, options.model, Path(folder)).result()
        sizes = (options.problems, options.samples, options.max_tokens)
        drawn = ours.submit(draw_requests, options.model, *sizes).result()
        problems = [
            Problem(index, f"problem {index}", "7", drawn[index * options.samples].prompt_ids)
            for index in range(options.problems)
        ]
        requests = ours.submit(same_requests, problems, options.samples, options.max_tokens).result()
        ours.submit(
            start_ours, Path(folder), context, options.concurrent, problems, options.samples, options.max_tokens
        ).result()
        plain.submit(start_plain, Path(folder), context, options.concurrent).result()
        works = {OURS: partial(_ours, ours), PLAIN: partial(_plain, plain, requests)}
        interleaved(works, 1)
        taken = interleaved(works, options.repetitions)
    rows = _rows(taken)
    print_table(f"Evaluation: {options.problems} problems, {options.samples} responses to each", rows)
    print(f"aim: {AIM} of plain")
    write_outcome(options.json, {"requests": len(requests), "rows": rows}, taken_under)


def _ours(process: ProcessPoolExecutor) -> Taken:
    return process.submit(take_ours).result()


def _plain(process: ProcessPoolExecutor, requests: Sequence[Request]) -> Taken:
    done = process.submit(take, WITHOUT, requests).result()
    return Taken(done.seconds, done.seconds, sum(map(len, done.responses)))


def _rows(taken: dict[str, list[Taken]]) -> list[dict[str, object]]:
    sampled = [Taken(one.sampled_seconds, one.sampled_seconds, one.tokens) for one in taken[OURS]]
    ways = {SAMPLED: sampled, **taken}
    rates = {way: Spread.of([one.tokens_per_second for one in passes]) for way, passes in ways.items()}
    return [
        {
            "way": way,
            "tokens/s": rates[way],
            "of plain": rates[way].median / rates[PLAIN].median,
            "of plain, turn by turn": _turn_by_turn(passes, taken[PLAIN]),
            "seconds": Spread.of([one.seconds for one in passes]),
            "tokens": passes[0].tokens,
        }
        for way, passes in ways.items()
    ]


def _turn_by_turn(passes: Sequence[Taken], plain: Sequence[Taken]) -> Spread:
    """The ratio within each turn: of two neighbours in time, which other work on the machine slows alike."""
    pairs = zip(passes, plain, strict=True)
    return Spread.of([one.tokens_per_second / other.tokens_per_second for one, other in pairs])


if __name__ == "__main__":
    main()
