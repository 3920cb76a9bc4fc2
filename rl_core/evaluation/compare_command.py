"""`python -m rl_core compare BEFORE AFTER`: two evaluations side by side. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_core.errors import MistakeError
from rl_core.evaluation.comparison import Comparison, compare
from rl_core.manifest import read_json


def compare_results(before: Path, after: Path, *, as_json: bool = False) -> list[Comparison]:
    """Compare two files of results, or all that two folders of them share, and print what can be said.

    Raises:
        MistakeError: a file holds no evaluation, or the two are of different problems.
    """
    found = []
    for first, second in _pairs(before, after):
        old, new = _results(first), _results(second)
        comparison = compare_evaluations(old, new)
        found.append(comparison)
        differing = differing_settings(old, new)
        if as_json:
            names = {"before": str(first), "after": str(second), "benchmark": old["benchmark"], "differing": differing}
            print(json.dumps({**names, **comparison.as_json()}, ensure_ascii=False))
        else:
            _print(old, new, comparison, differing)
    return found


def compare_evaluations(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """The comparison of two results as their files hold them.

    Raises:
        MistakeError: they are of different problems.
    """
    if before["dataset_digest"] != after["dataset_digest"]:
        raise MistakeError(
            f"these are evaluations of different problems: {before['benchmark']} with digest "
            f"{before['dataset_digest']}, and {after['benchmark']} with digest {after['dataset_digest']}"
        )
    try:
        return compare(before["problems"], after["problems"])
    except ValueError as problem:
        raise MistakeError(str(problem)) from None


def differing_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The settings of the protocol in which two results differ: what is then compared is not the models alone.

    Seeds and numbers of samples are left out: they change the noise, and not what is measured.
    """
    old, new = before["protocol"], after["protocol"]
    names = [name for name in {**old, **new} if name not in ("seed", "num_samples", "second_verifier")]
    return {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}


def _print(
    before: Mapping[str, Any], after: Mapping[str, Any], comparison: Comparison, differing: Mapping[str, Any]
) -> None:
    first, second = (f"{results.get('model', '?')} ({results['model_digest']})" for results in (before, after))
    print(f"{before['benchmark']}, {comparison.num_problems} problems: {second} against {first}")
    for name, (old, new) in differing.items():
        print(f"  warning: not asked alike, so that not the models alone differ: {name} {old!r}, then {new!r}")
    if comparison.num_left_out:
        print(f"  {comparison.num_left_out} problems are left out: without a scored response of both")
    print(f"  {comparison.sentence}")
    print(f"  {comparison.sentence_here}")


def _pairs(before: Path, after: Path) -> list[tuple[Path, Path]]:
    if before.is_dir() and after.is_dir():
        shared = sorted({file.name for file in before.glob("*.json")} & {file.name for file in after.glob("*.json")})
        if not shared:
            raise MistakeError(
                f"{before} and {after} hold no results of the same benchmark under the same protocol (a file of the "
                "same name in both): give two files"
            )
        return [(before / name, after / name) for name in shared]
    if before.is_dir():
        return [(before / after.name, after)]
    return [(before, after / before.name if after.is_dir() else after)]


def _results(file: Path) -> dict[str, Any]:
    results = read_json(file)
    if not isinstance(results, dict) or not {"dataset_digest", "problems", "protocol"} <= results.keys():
        beside = file.with_suffix(".json")
        hint = f": give {beside.name} beside it" if file != beside and beside.is_file() else ""
        raise MistakeError(f"{file}: {f'holds no evaluation{hint}' if file.is_file() else 'no such file'}")
    return results
