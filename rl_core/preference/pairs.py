"""The stage `pairs`: responses of the first policy, and which of two is better.

pairs/train.parquet and held_out.parquet hold the pairs, of different problems; pairs/samples.parquet every response;
pairs/manifest.json the counts. The columns are in `table`.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from rl_core.config import PairsConfig
from rl_core.config.rewards import RewardConfig
from rl_core.data.parquet import PromptedProblem, load_problems, load_solutions
from rl_core.errors import MistakeError
from rl_core.evaluation.figures import CORRECT
from rl_core.manifest import publishing
from rl_core.part_keys import finished_part
from rl_core.preference.pairing import PAIRED, Answered, Pair, Response, choose_pairs, held_out_problems
from rl_core.preference.sampling import sample_responses
from rl_core.preference.table import write_pairs, write_samples
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from rl_core.training.launch import require_policy_and_data
from rl_core.world import derive_seed

PROBLEMS = "pairs"  # of the run's data: those that pairs are made of
MIN_PAIRED = 2  # problems: one to train on, one held out


def make_pairs(run: RunDir) -> None:
    """Fill `run.pairs`, going on from what is sampled already; return at once when it is done.

    Raises:
        MistakeError: the recipe has no `pairs`, the data or the first policy is not there yet, or hardly any problem
            gives a pair.
    """
    pairs = run.config.pairs
    if pairs is None:
        raise MistakeError("pairs: the recipe has no such section")
    if finished_part(run.pairs, run.keys.pairs()) is not None:
        print("pairs: already there")
    else:
        require_policy_and_data(run, 0)
        _make(run, pairs, run.data / f"{PROBLEMS}.parquet")
    shutil.rmtree(run.pairs_samples, ignore_errors=True)


def _make(run: RunDir, pairs: PairsConfig, file: Path) -> None:
    problems = load_problems(file)
    sampled, num_too_long = sample_responses(run, pairs, problems, run.pairs_samples)
    solutions = _right_solutions(run, pairs, problems, load_solutions(file)) if pairs.solution_as_chosen else {}
    chosen: list[Pair] = []
    outcomes: Counter[str] = Counter()
    for problem in problems:
        if problem.index not in sampled:
            continue
        answered = Answered(problem.index, problem.problem, tuple(sampled[problem.index]), solutions.get(problem.index))
        found, outcome = choose_pairs(
            answered,
            max_pairs=pairs.pairs_per_problem,
            match_lengths=pairs.match_lengths,
            max_length_ratio=pairs.max_length_ratio,
            use_solution=pairs.solution_as_chosen,
            seed=[derive_seed(run.config.seed, "pairing", problem.index)],
        )
        chosen += found
        outcomes[outcome] += 1
    paired = sum(outcomes[outcome] for outcome in PAIRED)
    if paired < MIN_PAIRED:
        raise MistakeError(
            f"pairs: {paired} of {len(problems)} problems give a pair ({_in_words(outcomes)}), and {MIN_PAIRED} are "
            "needed: take other problems (pairs.first_row, pairs.num_rows), more samples or another temperature"
        )
    held_out = held_out_problems(
        [pair.problem for pair in chosen], pairs.held_out_fraction, [derive_seed(run.config.seed, "held-out pairs")]
    )
    splits = {
        "train": [pair for pair in chosen if pair.problem not in held_out],
        "held_out": [pair for pair in chosen if pair.problem in held_out],
    }
    counts = _counts(problems, sampled, num_too_long, outcomes, splits)
    prompts = {problem.index: problem.messages for problem in problems}
    with publishing(run.pairs, key=run.keys.pairs(), **counts) as folder:
        for name, split in splits.items():
            write_pairs(folder / f"{name}.parquet", split, prompts)
        write_samples(
            folder / "samples.parquet",
            [(index, response) for index in sorted(sampled) for response in sampled[index]],
        )
    for line in _told(counts):
        print(f"pairs: {line}", flush=True)


def _right_solutions(
    run: RunDir, pairs: PairsConfig, problems: Sequence[PromptedProblem], solutions: Sequence[str | None]
) -> dict[int, Response]:
    """The data set's solutions that are graded right, by their problem: a solution is not believed unseen."""
    there = [(problem, text) for problem, text in zip(problems, solutions, strict=True) if text]
    if not there:
        return {}
    tokenizer = AutoTokenizer.from_pretrained(run.first_policy(0))
    scores = Scorer([RewardConfig(name=pairs.verifier)]).score(
        [text for _, text in there], [problem.answer for problem, _ in there], [False] * len(there)
    )
    return {
        problem.index: Response(text, len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1, True)
        for (problem, text), score in zip(there, scores, strict=True)
        if score.reward == CORRECT
    }


def _counts(
    problems: Sequence[PromptedProblem],
    sampled: dict[int, list[Response]],
    num_too_long: int,
    outcomes: Counter[str],
    splits: dict[str, list[Pair]],
) -> dict[str, Any]:
    """What the manifest says of the pairs."""
    responses = [response for several in sampled.values() for response in several]
    verdicts = Counter(response.correct for response in responses)
    return {
        "problems": {"read": len(problems), "prompt_too_long": num_too_long, **outcomes},
        "responses": {
            "sampled": len(responses),
            "right": verdicts[True],
            "wrong": verdicts[False],
            "unscored": verdicts[None],
            "truncated": sum(response.truncated for response in responses),
        },
        "pairs": {name: _of_split(split) for name, split in splits.items()},
    }


def _of_split(pairs: Sequence[Pair]) -> dict[str, Any]:
    from_solution = sum(pair.chosen_from == "solution" for pair in pairs)
    longer = sum(pair.chosen.num_tokens > pair.rejected.num_tokens for pair in pairs)
    even = sum(pair.chosen.num_tokens == pair.rejected.num_tokens for pair in pairs)
    return {
        "pairs": len(pairs),
        "problems": len({pair.problem for pair in pairs}),
        "both_from_model": len(pairs) - from_solution,
        "solution_chosen": from_solution,
        "solution_chosen_fraction": from_solution / len(pairs),
        "rejected_truncated": sum(pair.rejected.truncated for pair in pairs),
        "chosen_longer": longer,
        "equally_long": even,
        "length_ratio_mean": sum(pair.length_ratio for pair in pairs) / len(pairs),
    }


def _told(counts: dict[str, Any]) -> list[str]:
    lines = [f"problems: {_in_words(counts['problems'])}", f"responses: {_in_words(counts['responses'])}"]
    for name, split in counts["pairs"].items():
        share = f"{split['solution_chosen_fraction']:.1%}"
        lines.append(
            f"{name}: {split['pairs']} pairs of {split['problems']} problems, {share} with the solution chosen"
        )
    return lines


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
