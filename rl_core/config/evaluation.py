"""What is measured, while training and of finished models."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rl_core.config.data import PromptConfig, holding_the_problem
from rl_core.config.section import Section
from rl_core.evaluation.benchmarks import benchmark_name, check_benchmark
from rl_core.evaluation.protocols import PROTOCOLS

Verifier = Literal["boxed", "deepscaler", "math_verify"]
PROMPT_FIELDS = ("prompt_template", "system_prompt")  # too long to be part of a name
ProtocolName = Literal["paper", "nemo", "siirl", "sft_rm_ppo"]


class ValidationConfig(Section):
    """What is measured during training, at the stage's own response limit: held-out problems and the probe."""

    every_steps: int = Field(10, ge=1, description="besides before the first step and after the last")
    num_problems: int | None = Field(None, ge=1, description="null: all of them")
    num_samples: int = Field(4, ge=1)
    temperature: float = Field(0.6, ge=0)

    @model_validator(mode="after")
    def _greedy_gives_one_answer(self) -> Self:
        if self.temperature == 0 and self.num_samples > 1:
            raise ValueError("temperature 0 gives one answer: num_samples must be 1, or temperature above 0")
        return self


class ProtocolConfig(Section):
    """How a model is asked and marked; its digest names the evaluation.

    Written as a name (`protocol: paper`), a name with changes (`protocol: {base: paper, num_samples: 64}`), or whole.
    """

    base: ProtocolName | None = Field(None, description="a protocol by name, of which the rest is taken over")
    num_samples: int = Field(16, ge=1)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(32768, ge=1)
    seed: int = 0
    verifier: Verifier = "boxed"
    second_verifier: Verifier | None = Field(
        None, description="marks the same responses beside the first; its figures, and where the two disagree, are kept"
    )
    prompt_template: str | None = Field(
        None, description="with {problem}; null: models are asked as they were trained (data.prompt_template)"
    )
    system_prompt: str | None = Field(None, description="goes with the protocol's own prompt_template; null sends none")

    @model_validator(mode="before")
    @classmethod
    def _base_gives_the_rest(cls, values: Any) -> Any:
        if isinstance(values, str):
            values = {"base": values}
        known = PROTOCOLS.get(values.get("base") or "", {}) if isinstance(values, dict) else {}
        return {**known, **values} if known else values

    @field_validator("prompt_template")
    @classmethod
    def _template_holds_the_problem(cls, value: str | None) -> str | None:
        return None if value is None else holding_the_problem(value)

    @model_validator(mode="after")
    def _greedy_gives_one_answer(self) -> Self:
        if self.temperature == 0 and self.num_samples > 1:
            raise ValueError("temperature 0 gives one answer: num_samples must be 1, or temperature above 0")
        return self

    @model_validator(mode="after")
    def _nothing_is_said_in_vain(self) -> Self:
        if self.system_prompt is not None and self.prompt_template is None:
            raise ValueError("system_prompt does nothing without the protocol's own prompt_template: give both")
        if self.second_verifier == self.verifier:
            raise ValueError(f"second_verifier is {self.second_verifier!r}, as the first: it would say the same")
        return self

    @property
    def label(self) -> str | None:
        """What it may be called: the protocol that it is based on, with what differs from that; None: of its own."""
        if self.base is None:
            return None
        known = ProtocolConfig(base=self.base)
        changed = [name for name in type(self).model_fields if getattr(self, name) != getattr(known, name)]
        told = [f"another {name}" if name in PROMPT_FIELDS else f"{name}={getattr(self, name)}" for name in changed]
        return f"{self.base} with {', '.join(told)}" if told else self.base

    def asked_with(self, trained: PromptConfig) -> PromptConfig:
        """How problems are put to a model that was trained on the prompts of `trained`."""
        if self.prompt_template is None:
            return trained
        own = {"prompt_template": self.prompt_template, "system_prompt": self.system_prompt}
        return trained.model_copy(update=own)

    def identity(self, trained: PromptConfig) -> dict[str, Any]:
        """How that model is asked and marked: everything that an evaluation is named after, beside its benchmark."""
        own = self.model_dump(mode="json", exclude={"base", "prompt_template", "system_prompt"})
        if self.second_verifier is None:
            del own["second_verifier"]
        prompt = self.asked_with(trained)
        return {
            "prompt_template": prompt.prompt_template,
            "system_prompt": prompt.system_prompt,
            "chat_template": prompt.chat_template,  # null: the model's own, which its digest covers
            **own,
        }


class EvaluationConfig(Section):
    """The evaluation of the base model and of every stage, under one protocol."""

    benchmark: str = Field(
        "test",
        description="the one that curves and promotions go by: test, train or probe of the run's data, a benchmark by "
        "name, or a json, jsonl or parquet file",
    )
    further_benchmarks: tuple[str, ...] = Field((), description="evaluated as well, for the base model and every stage")
    benchmark_folder: str | None = Field(
        None, description="a folder with <name>.json, .jsonl or .parquet of benchmarks by name; null: the hub"
    )
    protocol: ProtocolConfig = Field(default_factory=ProtocolConfig)
    max_concurrent_sequences: int = Field(256, ge=1)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """All of them, as they are written; the first one first."""
        return (self.benchmark, *self.further_benchmarks)

    @model_validator(mode="after")
    def _benchmarks_are_known_and_differ(self) -> Self:
        for benchmark in self.benchmarks:
            check_benchmark(benchmark, "benchmark" if benchmark == self.benchmark else "further_benchmarks")
        names = [benchmark_name(benchmark) for benchmark in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"further_benchmarks: {twice[0]} is there twice: results would have one name")
        return self
