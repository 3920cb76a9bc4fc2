"""The map is the tree, and the commands that the README names exist."""

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
MAP = (PROJECT / "docs" / "map.md").read_text(encoding="utf-8")


def test_the_map_is_the_tree() -> None:
    shown = mapped(MAP)
    opaque = {path for path in shown if path.endswith("/") and not any(p != path and p.startswith(path) for p in shown)}
    expected = set()
    for file in tracked():
        if PurePosixPath(file).name != "__init__.py" and not file.startswith("."):
            parents = [f"{parent}/" for parent in PurePosixPath(file).parents if str(parent) != "."]
            expected |= set(parents) | {file}
    hidden = {path for path in expected for folder in opaque if path.startswith(folder) and path != folder}
    assert sorted(set(shown)) == sorted(expected - hidden)


def test_the_readme_shows_the_folders_of_the_map() -> None:
    assert map_lines(README) == [line for line in map_lines(MAP) if line.split()[0].endswith("/")]


def test_every_line_of_the_map_has_a_caption() -> None:
    assert [line for line in map_lines(MAP) if len(line.split(maxsplit=1)) < 2] == []


@pytest.mark.parametrize("target", ["recipe", "test"])
def test_the_commands_of_the_first_screen_are_targets_of_the_makefile(target: str) -> None:
    assert f"\nmake {target} " in README
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def mapped(document: str) -> list[str]:
    """The paths of a map, folders with a slash at the end."""
    paths, folders = [], list[str]()
    for line in map_lines(document):
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[:depth]
        paths.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


def map_lines(document: str) -> list[str]:
    block = re.search(r"^##? Map\n.*?^```\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert block, "a section `Map` has the tree as its first code block"
    return block[1].splitlines()


def tracked() -> list[str]:
    """Files of the project: those in git, and new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git, and a clone")
    return [file for file in listed.splitlines() if (PROJECT / file).exists()]
