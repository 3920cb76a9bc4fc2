"""The sections of a recipe's configuration: every default and the rules inside one section.

Rules between sections are in `recipe`; reading files and overrides in `load`. Importing this costs no torch.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from rl_core.config.algorithm import AlgorithmConfig
from rl_core.config.section import Section
from rl_core.manifest import sampled_digest

PROBLEM = "{problem}"
JINJA_MARKS = ("{{", "{%")
AnswerFormat = Literal["boxed", "answer_tag", "thought"]


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
            if self._is_set(name):
                raise ValueError(f"{name} does nothing with source: {self.source}")
        return self


class DataConfig(Section):
    """Training problems, held-out problems, and how a problem becomes a prompt."""

    train: DatasetConfig
    test: DatasetConfig
    prompt_template: str = Field(
        "{problem} Let's think step by step and output the final answer within \\boxed{}.",
        description="the user's turn; {problem} stands for the problem, every other brace is literal",
    )
    system_prompt: str | None = Field(None, description="the system's turn; null sends none")
    chat_template: str | None = Field(
        None,
        description="Jinja that makes a prompt of the turns, or a file with it, which is read at once; null: the "
        "model's own",
    )
    probe_problems: int = Field(
        128, ge=1, description="training problems set aside as the fixed probe: measured, never trained on"
    )

    @model_validator(mode="after")
    def _rows_are_held_out_of_train(self) -> Self:
        if self.train.source == "held_out":
            raise ValueError("train: source: held_out is for data.test, whose rows it draws out of data.train")
        return self

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

    @model_validator(mode="after")
    def _template_holds_the_problem(self) -> Self:
        if self.prompt_template.count(PROBLEM) != 1:
            raise ValueError("prompt_template must hold {problem} exactly once")
        return self


class EmbeddedConfig(Section):
    """The project's own arithmetic task and the small base model that a run makes for it."""

    train_problems: int = Field(4000, ge=16)
    test_problems: int = Field(256, ge=8)
    max_depth: int = Field(14, ge=1, le=26, description="steps of the longest problem; a letter names each")
    hidden_size: int = Field(128, ge=16)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(4, ge=1)
    num_key_value_heads: int = Field(2, ge=1)
    intermediate_size: int = Field(512, ge=16)
    context_tokens: int = Field(256, ge=64, description="the model's max_position_embeddings")
    answer_format: AnswerFormat = Field(
        "boxed",
        description="how problems are solved: steps and \\boxed{9}, steps and <answer>9</answer>, or steps in <think> "
        "and a box behind them",
    )
    learning_rate: float = Field(3e-3, gt=0)
    batch_tokens: int = Field(2500, ge=256)
    clean_loss: float = Field(0.08, gt=0, description="the first phase ends when the running loss is below")
    max_clean_steps: int = Field(2000, ge=1, description="the first phase fails when it needs more")
    mixed_steps: int = Field(300, ge=0, description="updates on answers of mixed quality, in the second phase")


class LoraConfig(Section):
    """A low-rank adapter, which is trained in place of the model's own weights (Hu et al. 2021, arXiv 2106.09685).

    It has no dropout: the ratio of the loss compares one policy at two times, and the sampler knows of none.
    """

    rank: int = Field(16, ge=1, le=512)
    alpha: float = Field(32, gt=0, description="the adapter's part is scaled by alpha / rank")
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "all-linear", description="names of linear layers, as q_proj; all-linear: every one but the output head"
    )


class PolicyConfig(Section):
    """The model that is trained."""

    model_name: str = Field(description="a name on the hub, a folder, or `embedded`: the base model this run makes")
    revision: str = Field("main", description="commit, tag or branch on the hub; ModelScope's own default is master")
    hub: Literal["huggingface", "modelscope"] = Field("huggingface", description="where model_name is looked up")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the computation; auto: bfloat16 on accelerators, float32 on a CPU"
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="auto: flash_attention_2 where it is installed and works, else what transformers takes"
    )
    gradient_checkpointing: bool = False
    hf_config_overrides: dict[str, Any] = Field(default_factory=dict, description="into the model's config.json")
    lora: LoraConfig | None = Field(None, description="train an adapter; null: all of the model's weights")


class OptimizerConfig(Section):
    """AdamW and its learning rate over the steps of a stage."""

    learning_rate: float = Field(1e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up; the rate is constant afterwards")
    warmup_start_factor: float = Field(0.1, gt=0, le=1)


class CriticConfig(Section):
    """The value model of `algorithm.baseline: critic`: a transformer of its own with a scalar head, trained beside."""

    model_name: str | None = Field(
        None, description="folder it starts from; null: the model that the policy starts from"
    )
    optimizer: OptimizerConfig = Field(default_factory=lambda: OptimizerConfig(learning_rate=1e-5))
    lora: LoraConfig | None = Field(None, description="train an adapter and the head; null: all of the weights")
    value_clip: float | None = Field(
        0.5, gt=0, description="how far a value may move from its old one before its loss stops; null: no bound"
    )
    warmup_steps: int = Field(0, ge=0, description="first steps of the first stage, in which the critic alone learns")

    def identity(self) -> dict[str, Any]:
        """Everything that decides what this critic learns: its settings, and of a folder the content."""
        identity = self.model_dump(mode="json")
        folder = None if self.model_name is None else Path(self.model_name).expanduser()
        if folder is not None and folder.is_dir():
            identity["model_name"] = sampled_digest(folder)
        return identity


RewardName = Literal["boxed", "deepscaler", "math_verify", "answer_tag", "shaped", "overlong_penalty", "reward_model"]


class RewardConfig(Section):
    """One reward function, the project's own by name or yours by file, and its weight in the sum."""

    name: str = Field("", description="a named reward; of a function of yours, what metrics call it")
    weight: float = 1.0
    file: str | None = Field(None, description="a Python file with a reward function of yours")
    function: str = Field("score", description="its name there")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="options of the function")

    @model_validator(mode="before")
    @classmethod
    def _file_gives_the_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("file") and not values.get("name"):
            return {**values, "name": values.get("function", "score")}
        return values

    @model_validator(mode="after")
    def _function_is_known(self) -> Self:
        if self.file is None and self.name not in get_args(RewardName):
            known = ", ".join(get_args(RewardName))
            raise ValueError(f"name is {self.name!r}: {known} are known; a function of your own needs `file`")
        if self.file is None and self.function != "score":
            raise ValueError("function does nothing without `file`")
        if re.fullmatch(r"\w+", self.name) is None or self.name == "mean":
            raise ValueError(f"name is {self.name!r}: letters, digits and _ only, and not `mean`")
        if self.is_reward_model and not (isinstance(self.kwargs.get("model"), str) and self.kwargs["model"]):
            raise ValueError("reward_model needs kwargs.model: a folder, or a name on the hub")
        return self

    @property
    def is_reward_model(self) -> bool:
        """Whether this is the learned reward model, and not a function of the user's own of that name."""
        return self.name == "reward_model" and self.file is None

    @property
    def revision(self) -> str:
        """Of the reward model, where it is on a hub."""
        return str(self.kwargs.get("revision", "main"))

    def identity(self) -> dict[str, Any]:
        """Everything that decides what this reward gives: its settings, and of a file or a folder the content."""
        identity: dict[str, Any] = {"name": self.name, "weight": self.weight}
        kwargs = dict(self.kwargs)
        if self.is_reward_model:
            kwargs.pop("batch_tokens", None)  # lays work out on the device, and decides nothing
            folder = Path(kwargs["model"]).expanduser()
            kwargs |= {"model": sampled_digest(folder)} if folder.is_dir() else {"revision": self.revision}
        if kwargs:
            identity["kwargs"] = kwargs
        if self.file is not None:
            content = Path(self.file).read_bytes() if Path(self.file).is_file() else b""
            identity |= {"function": self.function, "file": sha256(content).hexdigest()}
        return identity


class VllmConfig(Section):
    """vLLM's own settings, where it is the engine; none of them changes what is computed, but for float rounding."""

    gpu_memory_utilization: float = Field(
        0.5, gt=0, lt=1, description="share of a device's memory beside the learner; evaluation, alone, takes 0.9"
    )
    tensor_parallel_size: int = Field(1, ge=1, description="devices that one model is split over")
    engine_args: dict[str, Any] = Field(default_factory=dict, description="more of vLLM's own engine arguments")


class RolloutConfig(Section):
    """How responses are sampled for training; the engine also serves evaluation."""

    engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto", description="auto: vllm where it is installed, transformers elsewhere"
    )
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    num_prompts: int = Field(128, ge=1, description="problems per step (P)")
    num_samples: int = Field(8, ge=1, description="responses per problem (G)")
    temperature: float = Field(1.0, gt=0, description="of sampling, and of every log-probability in the loss")
    max_concurrent_sequences: int = Field(256, ge=1, description="decoded together on one device")


class TrainingConfig(Section):
    """How the work is laid out on devices; none of it changes what is computed, but for float rounding."""

    num_processes: int | Literal["auto"] = Field("auto", description="auto: one per accelerator, or one on a CPU")
    zero_stage: Literal[0, 1, 2, 3] = 1
    packing: Literal["auto", "packed", "bucketed"] = Field(
        "auto",
        description="packed: sequences end to end, none padded; bucketed: rows of alike length, padded to the longest; "
        "auto: packed with flash attention, else bucketed",
    )
    micro_batch_tokens: int = Field(
        32768,
        ge=64,
        description="most tokens of one forward on one device, padding included; a longer sequence is alone",
    )
    deepspeed: dict[str, Any] = Field(default_factory=dict, description="more of DeepSpeed's own configuration")


class CheckpointConfig(Section):
    """When the trainer saves, what is kept, and what conversion writes."""

    every_steps: int = Field(10, ge=1)
    keep_last: int = Field(2, ge=1)
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    max_shard_bytes: int = Field(4_000_000_000, ge=1_000_000)


class GuardConfig(Section):
    """Bounds on what sampler and trainer disagree about, past which a run stops with its state saved.

    They decide nothing that is computed, so that a stopped run may go on under another bound.
    """

    max_sampler_logprob_error: float | None = Field(
        1.05, gt=1, description="of sampler_logprob_error_mean, by its median over the last steps; null: no bound"
    )
    max_sampler_kl: float | None = Field(5e-4, gt=0, description="of sampler_kl, in every step; null: no bound")
    max_nonfinite_updates: int = Field(
        3, ge=0, description="updates in a row whose loss or gradient is not finite: each is left out; more end the run"
    )


class ValidationConfig(Section):
    """What is measured during training, at the stage's own response limit: held-out problems and the probe."""

    every_steps: int = Field(10, ge=1, description="besides before the first step and after the last")
    num_problems: int | None = Field(None, ge=1, description="null: all of them")
    num_samples: int = Field(4, ge=1)
    temperature: float = Field(0.6, ge=0)


class ProtocolConfig(Section):
    """How a model is asked and marked; its digest names the evaluation."""

    num_samples: int = Field(16, ge=1)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(32768, ge=1)
    seed: int = 0
    verifier: Literal["boxed", "deepscaler", "math_verify"] = "boxed"

    @model_validator(mode="after")
    def _greedy_gives_one_answer(self) -> Self:
        if self.temperature == 0 and self.num_samples > 1:
            raise ValueError("temperature 0 gives one answer: num_samples must be 1, or temperature above 0")
        return self


class EvaluationConfig(Section):
    """The evaluation of the base model and of every stage, under one protocol."""

    benchmark: str = Field("test", description="a parquet in the run's data folder, without its suffix")
    protocol: ProtocolConfig = Field(default_factory=ProtocolConfig)
    max_concurrent_sequences: int = Field(256, ge=1)


class TrackingConfig(Section):
    """Weights & Biases."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "deepscaler-recipe"
    entity: str | None = None
    rollouts_every_steps: int = Field(10, ge=1, description="steps between two files of sampled responses")


class StageConfig(Section):
    """One context stage. `rollout`, `algorithm` and `optimizer` take what they leave out from the recipe's own."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    steps: int = Field(ge=1)
    max_prompt_tokens: int = Field(1024, ge=1, description="problems with longer prompts are set aside, and counted")
    max_response_tokens: int = Field(ge=1)
    max_total_tokens: int | None = Field(None, ge=2, description="bound on prompt and response; null: their sum")
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    algorithm: AlgorithmConfig = Field(default_factory=AlgorithmConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)

    @property
    def context_tokens(self) -> int:
        """Longest sequence of the stage: prompt and response together."""
        return self.max_total_tokens or self.max_prompt_tokens + self.max_response_tokens

    @model_validator(mode="after")
    def _total_leaves_room_for_a_response(self) -> Self:
        if self.max_total_tokens is not None and self.max_total_tokens <= self.max_prompt_tokens:
            raise ValueError(
                f"max_total_tokens is {self.max_total_tokens}, which leaves no response to a prompt of "
                f"max_prompt_tokens ({self.max_prompt_tokens})"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_divide_the_batch(self) -> Self:
        batch = self.rollout.num_prompts * self.rollout.num_samples
        if batch % self.algorithm.minibatch_sequences:
            raise ValueError(
                f"algorithm.minibatch_sequences is {self.algorithm.minibatch_sequences}, which does not divide "
                f"rollout.num_prompts x rollout.num_samples = {batch}"
            )
        samples, by_prompt = self.rollout.num_samples, self.algorithm.aggregation == "prompt_mean_token_mean"
        if by_prompt and self.algorithm.minibatch_sequences % samples:
            raise ValueError(
                "algorithm.aggregation is 'prompt_mean_token_mean', for which all responses to a prompt belong into "
                f"one update: algorithm.minibatch_sequences ({self.algorithm.minibatch_sequences}) must be a "
                f"multiple of rollout.num_samples ({samples})"
            )
        return self


class ScaledSetting(Section):
    """One setting that a rehearsal has otherwise than its recipe."""

    field: str = Field(description="dotted name; `*` is every stage")
    recipe: str
    rehearsal: str
    why: str


class RehearsesConfig(Section):
    """What a rehearsal is the toy size of."""

    recipe: str = Field(description="the recipe's name")
    scaled: tuple[ScaledSetting, ...]
