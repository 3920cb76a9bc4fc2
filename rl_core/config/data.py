"""Where problems come from, and how a problem becomes a prompt."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from rl_core.config.section import Section

PROBLEM = "{problem}"
JINJA_MARKS = ("{{", "{%")


class DatasetConfig(Section):
    """Where one data set comes from, and which of its columns are which."""

    source: Literal["embedded", "hub", "path", "held_out"] = Field(
        description="embedded: made by the project itself; hub: a Hugging Face dataset; path: a local file or folder; "
        "held_out: of data.test alone, rows drawn out of data.train"
    )
    repo_id: str | None = Field(None, description="hub: OWNER/NAME of the dataset repository")
    revision: str = Field("main", description="hub: commit, tag or branch; the commit it resolves to is recorded")
    file: str | None = Field(None, description="hub: the data file inside the repository (json, jsonl or parquet)")
    path: str | None = Field(None, description="path: a json, jsonl or parquet file, or a folder of them")
    problem_column: str = "problem"
    answer_column: str = "answer"
    solution_column: str | None = Field("solution", description="null when the data set has none")
    max_rows: int | None = Field(None, ge=1, description="keep only the first rows; null keeps all")
    fraction: float = Field(0.1, gt=0, lt=1, description="held_out: share of the training rows")
    seed: int = Field(15, ge=0, description="held_out: which rows, as train_test_split of the package datasets draws")

    @property
    def hub_files(self) -> dict[str, str]:
        """The files on the hub, by the setting that names each."""
        return {"file": self.file} if self.file else {}

    @model_validator(mode="after")
    def _source_has_its_address(self) -> Self:
        if self.source == "hub" and not (self.repo_id and self.file):
            raise ValueError("source: hub needs `repo_id` and `file`")
        if self.source == "path" and not self.path:
            raise ValueError("source: path needs `path`")
        return self

    @model_validator(mode="after")
    def _nothing_is_said_in_vain(self) -> Self:
        own = {"fraction", "seed"}
        idle = set(type(self).model_fields) - own - {"source"} if self.source == "held_out" else own
        for name in sorted(idle):
            if self.is_set(name):
                raise ValueError(f"{name} does nothing with source: {self.source}")
        return self


class PromptConfig(Section):
    """How a problem becomes a prompt."""

    prompt_template: str = Field(
        "{problem} Let's think step by step and output the final answer within \\boxed{}.",
        description="the user's turn; {problem} stands for the problem, every other brace is literal",
    )
    system_prompt: str | None = Field(
        None, description="the system's turn; null: none, or what the chat template puts in its place"
    )
    chat_template: str | None = Field(
        None,
        description="Jinja that makes a prompt of the turns, or a file with it, which is read at once; null: the "
        "model's own",
    )

    @field_validator("chat_template")
    @classmethod
    def _template_is_read(cls, value: str | None) -> str | None:
        """The text itself: so the recipe in a run's folder is whole, and another text is another recipe."""
        if value is None or any(mark in value for mark in JINJA_MARKS):
            return value
        try:
            return Path(value).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ValueError(
                f"holds no Jinja ({' or '.join(JINJA_MARKS)}), and no file of that name can be read from {Path.cwd()} "
                f"({reason})"
            ) from None

    @field_validator("prompt_template")
    @classmethod
    def _template_holds_the_problem(cls, value: str) -> str:
        return holding_the_problem(value)


def holding_the_problem(template: str) -> str:
    """A template as it is.

    Raises:
        ValueError: it does not hold the problem once.
    """
    if template.count(PROBLEM) != 1:
        raise ValueError(f"must hold {PROBLEM} exactly once")
    return template


class DataConfig(PromptConfig):
    """Training problems, held-out problems, and how a problem becomes a prompt."""

    train: DatasetConfig
    test: DatasetConfig
    probe_problems: int = Field(
        128, ge=1, description="training problems set aside as the fixed probe: measured, never trained on"
    )

    @model_validator(mode="after")
    def _rows_are_held_out_of_train(self) -> Self:
        if self.train.source == "held_out":
            raise ValueError("train: source: held_out is for data.test, whose rows it draws out of data.train")
        return self
