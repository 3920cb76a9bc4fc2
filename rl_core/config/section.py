"""What every group of settings is made from."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Section(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def is_set(self, name: str) -> bool:
        """Whether a field says something else than by default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)


class GrownSection(Section):
    """A section with settings that it did not always have.

    At their defaults they are not written, so that a recipe from before keeps its digests, and its finished parts.
    """

    LATER: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name not in self.LATER or self.is_set(name)}
