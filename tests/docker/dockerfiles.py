"""Dockerfiles, read as far as these tests need it: stages, instructions, and the environment that a RUN sees.

That the files are well formed is hadolint's to say; here lines are joined and split, and no more.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCKER = PROJECT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, and the rest with continued lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def arguments(self) -> list[str]:
        """The words without options."""
        return [word for word in self.words if not word.startswith("--")]


@dataclass(slots=True)
class Stage:
    """What stands between two FROMs."""

    name: str
    parent: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]


def stages(dockerfile: Path) -> dict[str, Stage]:
    """The stages of a file by name, in order; a stage without a name is called by its file."""
    found: dict[str, Stage] = {}
    for instruction in _instructions(dockerfile.read_text(encoding="utf-8")):
        if instruction.name == "FROM":
            words = instruction.words
            name = words[2] if len(words) == 3 else dockerfile.name.split(".")[0]
            stage = found[name] = Stage(name, words[0])
        else:
            stage.instructions.append(instruction)
    return found


def lineage(dockerfile: Path, name: str) -> list[Instruction]:
    """All instructions that make a stage, those of the stages it is built on first."""
    every = stages(dockerfile)
    stage = every[name]
    before = lineage(dockerfile, stage.parent) if stage.parent in every else []
    return [*before, *stage.instructions]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for logical in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = logical.partition(" ")
        yield Instruction(name.upper(), rest.strip())
