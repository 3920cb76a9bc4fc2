"""Whether the model that a run ends with goes to a hub, and as what."""

from pydantic import Field

from rl_core.config.section import Section


class PublishConfig(Section):
    """One model of the run in a repository on the Hugging Face hub. The token is HF_TOKEN, from the environment."""

    repo: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=96,
        description="OWNER/NAME; made where there is none",
    )
    private: bool = Field(True, description="false: everybody may read it")
    revision: str = Field("main", min_length=1, description="branch; made where there is none")
    stage: str | None = Field(None, description="name of the stage whose model it is; null: the last")
    license: str | None = Field(
        None,
        min_length=1,
        description="as the hub calls it: mit, apache-2.0; null: that of the base model, as its card says",
    )
    results: bool = Field(True, description="with the evaluations of the base model and of this one, as JSON")
