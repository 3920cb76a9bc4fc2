"""Supervised fine-tuning before the first stage: on which answers, and how."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rl_core.config.models import CosineConfig, LoraConfig
from rl_core.config.section import Section


class TracesConfig(Section):
    """Where worked answers come from, which columns are which, and which of a row's answers is learned.

    The defaults are the columns of open-r1/OpenR1-Math-220k.
    """

    source: Literal["embedded", "hub", "path"] = Field(
        description="embedded: made by the project itself; hub: a Hugging Face dataset; path: a local file or folder"
    )
    repo_id: str | None = Field(None, description="hub: OWNER/NAME of the dataset repository")
    revision: str = Field("main", description="hub: commit, tag or branch; the commit it resolves to is recorded")
    files: tuple[str, ...] = Field((), description="hub: the data files inside the repository (json, jsonl, parquet)")
    path: str | None = Field(None, description="path: a json, jsonl or parquet file, or a folder of them")
    max_rows: int | None = Field(None, ge=1, description="keep only the first rows; null keeps all")
    problem_column: str = "problem"
    answer_column: str = "answer"
    response: Literal["trace", "trace_answer", "solution"] = Field(
        "trace",
        description="trace: the shortest verified trace; trace_answer: the shortest of what such traces say behind "
        "their thought; solution: the solution column, with the answer in a box behind it where it has none",
    )
    traces_column: str = Field("generations", description="a list of traces in each row")
    verified_columns: tuple[str, ...] = Field(
        ("correctness_math_verify", "correctness_llama"),
        min_length=1,
        description="lists of true and false beside the traces: a trace is verified where any says so",
    )
    complete_column: str | None = Field(
        "is_reasoning_complete", description="a list that says which traces end by themselves; null: there is none"
    )
    solution_column: str = "solution"

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by the setting that names each."""
        named = {"problem_column": self.problem_column, "answer_column": self.answer_column}
        if self.response == "solution":
            return named | {"solution_column": self.solution_column}
        named |= {"traces_column": self.traces_column}
        named |= {f"verified_columns.{index}": column for index, column in enumerate(self.verified_columns)}
        return named | ({"complete_column": self.complete_column} if self.complete_column else {})

    @property
    def hub_files(self) -> dict[str, str]:
        """The files on the hub, by the setting that names each."""
        return {f"files.{index}": name for index, name in enumerate(self.files)}

    @model_validator(mode="after")
    def _source_has_its_address(self) -> Self:
        if self.source == "hub" and not (self.repo_id and self.files):
            raise ValueError("source: hub needs `repo_id` and `files`")
        if self.source == "path" and not self.path:
            raise ValueError("source: path needs `path`")
        return self

    @model_validator(mode="after")
    def _nothing_is_said_in_vain(self) -> Self:
        of_traces = ("traces_column", "verified_columns", "complete_column")
        idle = of_traces if self.response == "solution" else ("solution_column",)
        for name in idle:
            if self.is_set(name):
                raise ValueError(f"{name} does nothing with response: {self.response}")
        return self


class SftConfig(Section):
    """The stage `sft`: from the base model to the first policy, by the likelihood of given answers."""

    data: TracesConfig
    lora: LoraConfig | None = Field(None, description="train an adapter, merged afterwards; null: all of the weights")
    optimizer: CosineConfig = Field(default_factory=CosineConfig)
    batch_sequences: int = Field(32, ge=1, description="rows per optimizer update")
    epochs: int = Field(2, ge=1, description="passes over the rows")
    max_steps: int | None = Field(None, ge=1, description="fewer updates than the epochs have; null: all of them")
    max_tokens: int = Field(
        1024, ge=2, description="of prompt and response; longer rows are set aside, and counted, never cut off"
    )
    validation_rows: int = Field(256, ge=1, description="rows held out, on which the loss is measured")
    validation_every_steps: int = Field(50, ge=1, description="besides before the first step and after the last")
