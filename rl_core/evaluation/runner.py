"""Evaluates one model on one or more benchmarks under one protocol: samples, marks, counts, writes.

<folder>/<model digest>/<benchmark>-<protocol digest>.json      the figures, one row per problem
<folder>/<model digest>/<benchmark>-<protocol digest>.parquet   every sample

A model of a run is evaluated into that run; one that belongs to none, by `rl_core.evaluation.command`.
"""

from collections import Counter
from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rl_core.config import StageIndex
from rl_core.config.data import PromptConfig
from rl_core.config.evaluation import EvaluationConfig
from rl_core.config.models import PolicyConfig
from rl_core.config.rewards import RewardConfig
from rl_core.config.rollout import RolloutConfig
from rl_core.data.contamination import count_trained, trained_problems
from rl_core.data.parquet import dataset_digest, load_problems
from rl_core.data.prompt import prompt_messages
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import OF_THE_RUN, benchmark_name
from rl_core.evaluation.figures import figures
from rl_core.evaluation.launch import is_first_rank
from rl_core.evaluation.prompts import prompt_facts, prompt_warning, trained_prompt
from rl_core.evaluation.samples import SampleStore, StoredSample, samples_of_others
from rl_core.evaluation.sampling import sample_missing
from rl_core.evaluation.verifiers import disagree, second_figures
from rl_core.manifest import read_json, read_manifest, write_json
from rl_core.models.load import context_tokens
from rl_core.part_keys import finished_part
from rl_core.rewards import Scorer
from rl_core.rollout.choose import Choice, choose_engine
from rl_core.rollout.collect import Limits, scored, tokenize_prompts
from rl_core.rollout.engine import RolloutEngine
from rl_core.rollout.start import start_engine
from rl_core.run_dir import RunDir
from rl_core.training.records import rollouts_table, write_table
from rl_core.training.summary import update_summary
from rl_core.types import Problem
from rl_core.world import World


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation is done with: sections of a recipe."""

    policy: PolicyConfig
    rollout: RolloutConfig
    evaluation: EvaluationConfig
    prompt: PromptConfig  # how models are asked where the protocol does not say


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model, as a Hugging Face folder."""

    folder: Path
    name: str  # what progress and results call it
    digest: str
    trained: PromptConfig | None  # the prompts that it was trained on; None: not known


@dataclass(frozen=True, slots=True)
class Work:
    """One benchmark, and where its results go."""

    benchmark: str  # its name
    problems: Path  # its parquet file
    source: Any  # where the problems came from, for the results
    result: Path  # JSON


def evaluate_model(run: RunDir, index: StageIndex | None) -> None:
    """Evaluate the model of stage `index`, or the base model (None), on every benchmark that is not done yet.

    Raises:
        MistakeError: the model is not there yet, or a benchmark is not.
    """
    folder = run.base if index is None else run.stage(index).hf
    manifest = read_manifest(folder)
    if manifest is None:
        command = "warm-up" if index is None else f"convert --stage {index}"
        raise MistakeError(f"{folder} does not hold a model yet: run `python -m rl_core {command}` first")
    config = run.config
    name = "base" if index is None else run.stage_name(index)
    made_here = index is not None or config.policy.model_name == "embedded"
    model = EvaluatedModel(folder, name, manifest["digest"], config.data if made_here else trained_prompt(folder))
    trained = trained_problems(run.data)
    works = [_work_of_run(run, benchmark, manifest["digest"], trained) for benchmark in config.evaluation.benchmarks]
    evaluate(model, works, Settings(config.policy, config.rollout, config.evaluation, config.data))
    if index is not None and is_first_rank():
        update_summary(run, index, evaluation=str(works[0].result.relative_to(run.root)))


def _work_of_run(run: RunDir, benchmark: str, model_digest: str, trained: Set[str]) -> Work:
    name, problems = benchmark_name(benchmark), run.problems(benchmark)
    if benchmark in OF_THE_RUN:
        source: dict[str, Any] = {"source": {"source": "run", "split": benchmark}}
    else:
        folder = run.benchmark(benchmark)
        manifest = finished_part(folder, run.keys.benchmark(benchmark))
        if manifest is None:
            raise MistakeError(f"{folder} does not hold {name} yet: run `python -m rl_core prepare` first")
        source = dataset_facts(manifest)
    source["also_trained_on"] = count_trained(trained, problems)
    if source["also_trained_on"]:
        print(f"warning: {source['also_trained_on']} problems of {name} are among those that this run trains on")
    return Work(name, problems, source, run.evaluation(model_digest, benchmark))


def dataset_facts(manifest: dict[str, Any]) -> dict[str, Any]:
    """What results say of a benchmark that was fetched."""
    return {name: manifest[name] for name in ("source", "rows_read", "set_aside", "repaired")}


def evaluate(model: EvaluatedModel, works: Sequence[Work], settings: Settings) -> None:
    """Evaluate a model on every benchmark that is not done yet.

    Raises:
        MistakeError: a prompt does not fit the model's context, or the sampler cannot be started.
    """
    todo = [work for work in works if not is_done(work)]
    if not todo:
        print(f"{model.name}: already evaluated")
        return
    asked = settings.evaluation.protocol.asked_with(settings.prompt)
    warning = prompt_warning(asked, model.trained)
    if warning:
        print(warning, flush=True)
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    context = context_tokens(model.folder)
    questions = [_questions(work, asked, tokenizer, context) for work in todo]
    longest = max(len(problem.prompt_ids) for problems in questions for problem in problems)
    limit = settings.evaluation.protocol.max_new_tokens
    if longest + limit > context:
        print(f"warning: the model's context of {context} tokens leaves less than {limit} tokens to some responses")
    choice, world = choose_engine(settings.rollout), World.join()
    print(f"evaluate {model.name}: {choice}", flush=True)
    engine = start_engine(
        choice,
        model.folder,
        settings.policy,
        settings.rollout,
        context_tokens=min(context, longest + limit),
        max_concurrent_sequences=settings.evaluation.max_concurrent_sequences,
        beside_learner=False,
        world=world,
    )
    attempt = _Attempt(model, settings, asked, engine, tokenizer, Limits(limit, context), choice, world)
    with closing(engine):
        for work, problems in zip(todo, questions, strict=True):
            attempt.evaluate(work, problems)


def is_done(work: Work) -> bool:
    """Whether the results are there, and of the problems that the benchmark has now."""
    known = read_json(work.result)
    return known is not None and known["dataset_digest"] == dataset_digest(work.problems)


def _questions(work: Work, asked: PromptConfig, tokenizer: PreTrainedTokenizerBase, context: int) -> list[Problem]:
    """The problems as they are put to the model."""
    problems = [
        replace(problem, messages=tuple(prompt_messages(problem.problem, asked)))
        for problem in load_problems(work.problems)
    ]
    questions, too_long = tokenize_prompts(problems, tokenizer, context - 1)
    if too_long:
        raise MistakeError(f"{work.benchmark}: {too_long} prompts do not fit the model's context of {context} tokens")
    return questions


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What the evaluations of one model have in common, the sampler started."""

    model: EvaluatedModel
    settings: Settings
    asked: PromptConfig
    engine: RolloutEngine
    tokenizer: PreTrainedTokenizerBase
    limits: Limits
    choice: Choice
    world: World

    def evaluate(self, work: Work, problems: Sequence[Problem]) -> None:
        """Sample what is missing of one benchmark; the first rank marks all of it and writes the results."""
        evaluation, name = self.settings.evaluation, f"{self.choice.engine} {self.choice.version}"
        digest, protocol = dataset_digest(work.problems), evaluation.protocol.identity(self.settings.prompt)
        store = SampleStore(work.result.with_suffix(f".{digest}.samples"), sampler=name, rank=self.world.rank)
        known = samples_of_others(work.result, work.benchmark, digest, protocol)
        several = len(evaluation.benchmarks) > 1
        title = f"evaluate {self.model.name}{f' on {work.benchmark}' if several else ''}"
        samples = sample_missing(
            problems, evaluation.protocol, self.limits, self.engine, store, known, self.world, title
        )
        if self.world.is_first:
            wanted = [(problem, sample) for problem in problems for sample in range(evaluation.protocol.num_samples)]
            ours = [samples[problem.index, sample] for problem, sample in wanted]
            self._write(work, wanted, ours, digest)
            store.remove()

    def _write(
        self, work: Work, wanted: Sequence[tuple[Problem, int]], samples: Sequence[StoredSample], digest: str
    ) -> None:
        protocol = self.settings.evaluation.protocol
        completions = [sample.completion() for sample in samples]
        first, second = (
            None
            if verifier is None
            else scored(wanted, completions, self.tokenizer, Scorer([RewardConfig(name=verifier)]), self.limits)
            for verifier in (protocol.verifier, protocol.second_verifier)
        )
        assert first is not None, "there is always a first verifier"
        table = rollouts_table(first)
        table["token_ids"] = [sample.token_ids for sample in samples]
        table["sampler"] = [sample.sampler for sample in samples]
        beside = {}
        if second is not None:
            assert protocol.second_verifier is not None, "it marked"
            table["second_reward"] = [rollout.score.reward for rollout in second]
            table["verifiers_disagree"] = [disagree(*pair) for pair in zip(first, second, strict=True)]
            beside = {"second_verifier": second_figures(protocol.second_verifier, first, second, protocol.num_samples)}
        work.result.parent.mkdir(parents=True, exist_ok=True)
        write_table(work.result.with_suffix(".parquet"), table)
        facts = {
            "model_digest": self.model.digest,
            "model": self.model.name,
            "benchmark": work.benchmark,
            "dataset_digest": digest,
            "dataset": work.source,
            "protocol": protocol.identity(self.settings.prompt),
            "protocol_name": protocol.label,
            "prompt": prompt_facts(self.asked, self.model.trained),
        }
        engine = {"name": self.choice.engine, "version": self.choice.version}
        samplers = dict(Counter(sample.sampler for sample in samples))
        found = figures(first, protocol.num_samples)
        write_json(work.result, {**facts, **found, **beside, "engine": engine, "samplers": samplers})
