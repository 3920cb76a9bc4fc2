import pytest

from rl_core.masking import without_secrets


@pytest.mark.parametrize("name", ["PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "HF_TOKEN"])
def test_a_credential_of_the_environment_is_shown_nowhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "admin:open-sesame")
    assert without_secrets("said admin:open-sesame to it") == "said [not shown] to it"
    assert without_secrets({name.lower(): "another"}) == {name.lower(): "[not shown]"}
