"""What responses are paid for."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from rl_core.config.section import Section
from rl_core.manifest import sampled_digest

TRAINED = "trained"  # as a reward model's name: the one that this run trains; a folder of that name is ./trained
OVERLONG_BUFFER_TOKENS = 4096  # where the recipe says no other
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
            raise ValueError("reward_model needs kwargs.model: a folder, a name on the hub, or `trained`")
        if self.is_trained_here and "revision" in self.kwargs:
            raise ValueError("kwargs.revision does nothing with kwargs.model: trained, which this run makes")
        if self.is_reward_model and self.trained_on is not None and not self.shares_backbone:
            raise ValueError("kwargs.trained_on does nothing without kwargs.backbone: shared")
        return self

    @property
    def is_reward_model(self) -> bool:
        """Whether this is the learned reward model, and not a function of the user's own of that name."""
        return self.name == "reward_model" and self.file is None

    @property
    def overlong_buffer_tokens(self) -> int | None:
        """Of the penalty near the limit; None of every other reward, and where it is no number of tokens."""
        given = self.kwargs.get("buffer_tokens", OVERLONG_BUFFER_TOKENS)
        return given if self.name == "overlong_penalty" and self.file is None and isinstance(given, int) else None

    @property
    def shares_backbone(self) -> bool:
        """Whether this reward model is an adapter on the frozen weights below the policy's."""
        return self.is_reward_model and self.kwargs.get("backbone") == "shared"

    @property
    def trained_on(self) -> str | None:
        """The model below that adapter, where it is not the one that the first stage starts with."""
        named = self.kwargs.get("trained_on")
        return None if named is None else str(named)

    @property
    def is_trained_here(self) -> bool:
        """Whether this is the reward model that the run itself trains."""
        return self.is_reward_model and self.kwargs["model"] == TRAINED

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
            if not self.is_trained_here:  # which has a key of its own, see `run_dir`
                kwargs |= {"model": sampled_digest(folder)} if folder.is_dir() else {"revision": self.revision}
        if kwargs:
            identity["kwargs"] = kwargs
        if self.file is not None:
            content = Path(self.file).read_bytes() if Path(self.file).is_file() else b""
            identity |= {"function": self.function, "file": sha256(content).hexdigest()}
        return identity
