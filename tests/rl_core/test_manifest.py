import json
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core.errors import MistakeError
from rl_core.manifest import (
    digest_of,
    file_digest,
    publishing,
    read_json,
    read_manifest,
    sampled_digest,
    write_json,
    write_manifest,
    write_text,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_digest_identifies_a_value_in_every_process() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"\u00e4": "x"}}
    assert digest_of(value) == "86a7dac5af6a2542"
    assert digest_of({"a": {"\u00e4": "x"}, "b": [1, 2.5, None, True]}) == digest_of(value)
    others = [{"b": [1, 2.5, None, True]}, {**value, "b": [2.5, 1, None, True]}, {**value, "a": {}}, [value], None]
    assert len({digest_of(other) for other in [value, *others]}) == 6
    script = (
        "from rl_core.manifest import digest_of; print(digest_of({'a': {'\u00e4': 'x'}, 'b': [1, 2.5, None, True]}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_of(value)


def test_a_published_folder_has_a_manifest_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "part"
    with publishing(folder, key="k", source="here") as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "b.txt").write_text("bb")
        (partial / "a.txt").write_text("a")
        assert not folder.exists()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest["config_digest"], manifest["source"], manifest["complete"]) == ("k", "here", True)
    assert [(file["path"], file["bytes"], file["digest"]) for file in manifest["files"]] == [
        ("a.txt", 1, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("sub/b.txt", 2, file_digest(folder / "sub" / "b.txt")),
    ]
    assert names(folder.parent) == ["part"]


def test_a_sampled_digest_sees_names_sizes_and_changes_all_over_a_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4 * 4096  # 4 MiB, of which 1 MiB is read
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "small").write_bytes(b"a")
    seen = [sampled_digest(tmp_path)]
    for name, written in [
        ("small", b"b"),
        ("large", content[:-1] + b"x"),
        ("large", b"x" + content[1:]),
        ("large", content + b"x"),
        ("large", bytes(byte ^ 1 for byte in content[: 1 << 16]) + content[1 << 16 :]),
        ("other", b""),
    ]:
        (tmp_path / name).write_bytes(written)
        seen.append(sampled_digest(tmp_path))
    assert len(set(seen)) == 7
    (tmp_path / "other").unlink()
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "small").write_bytes(b"a")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert sampled_digest(tmp_path) == seen[0]


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    digests = []
    for name, key, text in (("a", "k", "x"), ("b", "other", "x"), ("c", "k", "y")):
        with publishing(tmp_path / name, key=key) as partial:
            (partial / "file").write_text(text)
        manifest = read_manifest(tmp_path / name)
        assert manifest is not None
        digests.append(manifest["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_a_failure_leaves_what_was_there_and_the_next_attempt_starts_empty(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    with publishing(folder, key="first") as partial:
        (partial / "file").write_text("first")
    with pytest.raises(FileNotFoundError), publishing(folder, key="second") as partial:
        (partial / "half").touch() or (folder / "absent").read_text()
    assert (folder / "file").read_text() == "first"
    with publishing(folder, key="third") as partial:
        assert names(partial) == []
        (partial / "file").write_text("third")
    assert names(tmp_path) == ["part"]
    assert names(folder) == ["file", "manifest.json"]
    assert (folder / "file").read_text() == "third"


def test_what_one_process_is_making_another_leaves_alone(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    with publishing(folder, key="first") as partial:
        (partial / "file").write_text("first")
        with pytest.raises(MistakeError, match=r"part\.partial: another process is making this now"):
            publishing(folder, key="second").__enter__()
    assert names(folder) == ["file", "manifest.json"]
    with publishing(folder, key="third") as partial:
        pass
    assert names(tmp_path) == ["part"]


def test_what_is_renamed_while_another_process_takes_the_lock_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "part"
    partial = tmp_path / "part.partial"
    partial.mkdir()
    (partial / "file").write_text("content")

    def lock_late(handle: int, operation: int) -> None:
        partial.rename(folder)

    monkeypatch.setattr("fcntl.flock", lock_late)
    with pytest.raises(MistakeError, match="another process"):
        publishing(folder, key="second").__enter__()
    assert names(folder) == ["file"]


def test_a_folder_is_complete_only_while_every_file_is_there_with_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    assert read_manifest(folder) is None
    with publishing(folder, key="k") as partial:
        (partial / "file").write_text("content")
    assert read_manifest(folder) is not None
    (folder / "more").write_text("a file beside")
    assert read_manifest(folder) is not None
    (folder / "file").write_text("conten")
    assert read_manifest(folder) is None
    (folder / "file").unlink()
    assert read_manifest(folder) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"complete": false}', '{"complete": 1}'])
def test_a_manifest_that_says_less_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert read_manifest(tmp_path) is None


def test_the_manifest_of_an_empty_folder(tmp_path: Path) -> None:
    write_manifest(tmp_path, key="k")
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["files"] == []


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    write_json(file, {"a": "\u00e4"})
    write_json(file, {"a": 2})
    assert read_json(file) == {"a": 2}
    write_text(tmp_path / "text", "\u00e4\n")
    assert (tmp_path / "text").read_bytes() == "\u00e4\n".encode()
    assert names(tmp_path) == ["text", "value.json"]


def test_no_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "half").write_text(json.dumps({"a": 1})[:-1])
    assert read_json(tmp_path / "half") is None
    assert read_json(tmp_path / "absent") is None
    assert read_json(tmp_path / "half" / "below a file") is None
