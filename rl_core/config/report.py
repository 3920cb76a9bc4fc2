"""What a report adds to what the run itself says."""

from pydantic import Field

from rl_core.config.section import Section


class ReportConfig(Section):
    """The report of a run."""

    price_per_device_hour: float | None = Field(
        None,
        ge=0,
        description="what an accelerator, or a machine without one, costs an hour; null: the report gives hours alone",
    )
    currency: str = Field("USD", min_length=1, description="of that price")
