"""Whether a run may publish is known before it starts."""

from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.publishing.license import front_matter, license_of
from tests.publishing_hub import PublishingHub
from tests.rl_core.publishing.conftest import REPO, Command

HELD_OUT = "data.test={source: held_out}"


def plan(start: Command, *overrides: str, **environment: str) -> tuple[int, str]:
    """Exit code and errors of a command that starts nothing."""
    process = start("flows.deepscaler_recipe", "--plan", *overrides, **environment)
    _, errors = process.communicate()
    return process.returncode, errors


def test_who_may_write_there_may_start(publishing_hub: PublishingHub, start: Command) -> None:
    assert plan(start, REPO) == (0, "")
    assert plan(start, "publish.repo=team/model") == (0, "")


@pytest.mark.parametrize(
    ("overrides", "environment", "message"),
    [
        ((REPO,), {"HF_TOKEN": ""}, "publish: HF_TOKEN is not set: set it to a token of the hub that may write"),
        ((REPO,), {"HF_TOKEN": "hf_ofnobodyatall"}, " does not take HF_TOKEN (401): renew it"),
        ((REPO,), {"HF_ENDPOINT": "http://127.0.0.1:9"}, " cannot be asked: "),
        (
            ("publish.repo=other/model",),
            {},
            "may write under someone, team, not under other: take publish.repo=someone/",
        ),
        (("publish.repo=model",), {}, "publish.repo: String should match pattern"),
        ((REPO, "publish.stage=32k"), {}, "publish.stage is '32k': no such stage; there are 8k, 16k, 24k"),
    ],
)
def test_who_may_not_is_told_before_anything_starts(
    overrides: tuple[str, ...], environment: dict[str, str], message: str, start: Command
) -> None:
    code, errors = plan(start, *overrides, **environment)
    assert code == 2
    assert message in errors
    assert "hf_" not in errors


def test_a_token_or_a_role_that_may_only_read_is_told(publishing_hub: PublishingHub, start: Command) -> None:
    publishing_hub.team_role = "read"
    assert (
        "publish.repo is 'team/model': someone is read in team and may not write there"
        in plan(start, "publish.repo=team/model")[1]
    )
    publishing_hub.role = "read"
    assert "publish: HF_TOKEN of someone may only read: take one that may write" in plan(start, REPO)[1]


def test_the_licence_is_that_of_the_model_on_the_hub(publishing_hub: PublishingHub, start: Command) -> None:
    publishing_hub.commit("owner/licensed", {"README.md": b"---\nlicense: mit\n---\n# A model\n"})
    publishing_hub.commit("owner/bare", {"config.json": b"{}"})
    overrides = (REPO, "embedded=null", "data.train={source: hub, repo_id: a/b, file: c.json}", HELD_OUT)
    assert plan(start, *overrides, "policy.model_name=owner/licensed") == (0, "")
    code, errors = plan(start, *overrides, "policy.model_name=owner/bare")
    assert code == 2
    assert (
        "publish.license: the card of owner/bare (policy.model_name) does not say which: look up under which" in errors
    )
    assert plan(start, *overrides, "policy.model_name=owner/bare", "publish.license=mit") == (0, "")


def test_the_licence_is_read_from_a_folders_card_or_has_to_be_given(tmp_path: Path) -> None:
    data = ("embedded=null", "data.train={source: path, path: a.json}", HELD_OUT)
    config = load_config(overrides=[REPO, *data, f"policy.model_name={tmp_path}"])
    with pytest.raises(MistakeError, match=r"publish\.license: .* does not say which"):
        license_of(config)
    (tmp_path / "README.md").write_text("---\nlicense: other\n---\n")
    with pytest.raises(MistakeError, match=r"says 'other'"):
        license_of(config)
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# A model\n")
    assert license_of(config) == "mit"
    assert license_of(load_config(overrides=[REPO])) == "apache-2.0"


@pytest.mark.parametrize("text", ["", "# no metadata\n", "---\n[a\n---\n", "---\n- a list\n---\n"])
def test_a_card_without_metadata_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(text)
    assert front_matter(tmp_path / "README.md") == {}
