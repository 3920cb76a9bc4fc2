"""The stage `publish` against a hub on loopback, with the hub's real client."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_core.run_dir import RunDir
from tests.publishing_hub import TOKEN, PublishingHub
from tests.rl_core.publishing.conftest import Command, start_publishing

Publish = Callable[..., tuple[int, str, str]]
LOAD = """
import torch
from transformers import AutoModelForCausalLM
from tests.rl_core.tiny import tiny_qwen2
model, own = AutoModelForCausalLM.from_pretrained("someone/model"), tiny_qwen2()
print(all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), own.state_dict().values(), strict=True)))
"""


def published(hub: PublishingHub, branch: str = "main") -> dict[str, bytes]:
    """The files of the repository."""
    repository = hub.repositories["someone/model"]
    return repository.commits[repository.branches[branch]]


def uploads(hub: PublishingHub) -> list[str]:
    """What large files were sent, by the start of their digest, in order."""
    return [request.rpartition("/")[2] for request in hub.requests if request.startswith("PUT /upload/")]


def test_a_model_goes_to_a_private_repository_in_one_commit_and_loads_from_there(
    publishing_hub: PublishingHub, publish: Publish, run: RunDir, tmp_path: Path
) -> None:
    code, output, errors = publish()
    assert (code, errors) == (0, "")
    files = published(publishing_hub)
    model = {file.name: file.read_bytes() for file in run.stage(2).hf.glob("model*")}
    assert len(model) > 2
    assert {name: files[name] for name in model} == model
    assert files["adapter/adapter_model.safetensors"] == b"an adapter"
    assert files["README.md"].startswith(b"---\nlicense: apache-2.0\n")
    assert "manifest.json" not in files
    assert sorted(name.split("/")[1] for name in files if name.startswith("evaluations/")) == ["24k", "base"]
    assert publishing_hub.private == {"someone/model": True}
    assert len(publishing_hub.messages) == 1
    noted = json.loads(run.published.read_text())
    assert (noted["repo"], noted["commit"]) == (
        "someone/model",
        publishing_hub.repositories["someone/model"].branches["main"],
    )
    assert f"published {noted['url']}" in output
    assert noted["url"] in run.report.read_text()
    environment = publishing_hub.environment(tmp_path / "other") | {"PYTHONPATH": str(Path(__file__).parents[3])}
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=True)
    assert loaded.stdout == "True\n"


def test_what_is_published_is_not_sent_again(publishing_hub: PublishingHub, publish: Publish, run: RunDir) -> None:
    assert publish()[0] == 0
    asked = len(publishing_hub.requests)
    code, output, _ = publish()
    assert (code, len(publishing_hub.requests)) == (0, asked)
    assert output.startswith("someone/model: published already, as commit ")
    run.published.unlink()  # as where the process was killed after the commit
    sent = uploads(publishing_hub)
    assert publish()[0] == 0
    assert uploads(publishing_hub) == sent
    assert len(publishing_hub.messages) == 1


def test_an_upload_that_was_killed_goes_on_with_what_is_missing(
    publishing_hub: PublishingHub, publish: Publish, run: RunDir, start: Command
) -> None:
    publishing_hub.hold_uploads = threading.Event()
    process = start_publishing(start, run)
    assert publishing_hub.held.wait(60)
    process.kill()
    process.communicate()
    publishing_hub.hold_uploads.set()
    assert set(published(publishing_hub)) == {".gitattributes"}, "nobody sees half a model"
    assert publish()[0] == 0
    first, second, *rest = uploads(publishing_hub)
    assert rest.count(first) == 0
    assert rest.count(second) == 1
    assert len(set(rest)) == len(rest)
    assert "model.safetensors.index.json" in published(publishing_hub)


def test_another_branch_is_made_and_shards_of_an_earlier_model_are_removed_from_it(
    publishing_hub: PublishingHub, publish: Publish
) -> None:
    publishing_hub.private["someone/model"] = True
    publishing_hub.commit("someone/model", {"model-00001-of-00099.safetensors": b"old", "notes.md": b"mine"})
    assert publish("publish.revision=candidate")[0] == 0
    assert set(published(publishing_hub)) == {"model-00001-of-00099.safetensors", "notes.md"}
    candidate = published(publishing_hub, "candidate")
    assert "model-00001-of-00099.safetensors" not in candidate
    assert candidate["notes.md"] == b"mine"
    assert b'revision="candidate"' in candidate["README.md"]


def test_a_public_repository_is_not_written_where_a_private_one_is_asked_for(
    publishing_hub: PublishingHub, publish: Publish
) -> None:
    publishing_hub.private["someone/model"] = False
    publishing_hub.commit("someone/model", {"notes.md": b"mine"})
    code, _, errors = publish()
    assert code == 2
    assert errors.startswith(
        "error: publish.repo is 'someone/model': it exists and everybody may read it, but publish.private"
    )
    assert set(published(publishing_hub)) == {"notes.md"}
    assert publish("publish.private=false")[0] == 0


def test_another_stage_may_be_published_without_its_results(publishing_hub: PublishingHub, publish: Publish) -> None:
    assert publish("publish.stage=8k", "publish.results=false")[0] == 0
    files = published(publishing_hub)
    assert "content.txt" in files
    assert [name for name in files if name.startswith("evaluations/")] == []
    card = files["README.md"].decode()
    assert "step 6 of stage 8k, 1 of 3" in card
    assert "16k" not in card


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"HF_TOKEN": ""}, "error: publish: HF_TOKEN is not set"),
        ({"HF_TOKEN": "hf_ofnobodyatall"}, "error: publish.repo is 'someone/model': "),
    ],
)
def test_without_a_good_token_nothing_is_sent_and_the_token_is_not_shown(
    variables: dict[str, str], message: str, publishing_hub: PublishingHub, publish: Publish
) -> None:
    code, output, errors = publish(**variables)
    assert (code, output) == (2, "")
    assert errors.startswith(message)
    assert [secret for secret in (TOKEN, "hf_ofnobodyatall") if secret in errors] == []
    assert publishing_hub.repositories == {}


def test_a_hub_that_is_away_is_a_failure_that_may_pass(publish: Publish) -> None:
    code, _, errors = publish(HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 1
    assert (
        "ConnectionError: publish.repo is 'someone/model': not all of it reached http://127.0.0.1:9; the same" in errors
    )
