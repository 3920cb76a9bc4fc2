"""What every group of settings is made from."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def _is_set(self, name: str) -> bool:
        """Whether a field says something else than by default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)
