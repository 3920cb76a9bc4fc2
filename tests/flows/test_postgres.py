"""PostgreSQL as the server's database, as a team runs it; SQLite is the default, and every other test's."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_core.config import RecipeConfig
from tests.flows.conftest import STAND_IN
from tests.flows.team_server import end_group, free_port, team_server, wait_until

PLACES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"), Path("/usr/bin")]


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs; skips where there is none."""
    found = shutil.which(name, path=os.pathsep.join(map(str, PLACES)))
    if found is None:
        pytest.skip(f"needs PostgreSQL's {name} (Debian: apt-get install postgresql)")
    return found


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of an empty database, by a PostgreSQL of the test's own."""
    initdb, server, psql = program("initdb"), program("postgres"), program("psql")
    user = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)  # it refuses root
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    data, port = folder / "data", free_port()
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [initdb, "-D", data, "-U", "prefect", "--auth=trust", "--no-sync", "--encoding=UTF8"],
        cwd=folder, check=True, capture_output=True, **as_user,
    )  # fmt: skip
    command = [server, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **as_user)
    address = f"127.0.0.1:{port}/postgres"
    ask = [psql, f"postgresql://prefect@{address}", "-tAc"]
    try:
        wait_until(
            lambda: subprocess.run([*ask, "select 1"], capture_output=True).returncode == 0, "PostgreSQL",
            (folder / "log").read_text,
        )  # fmt: skip
        yield address
    finally:
        end_group(process)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_run_is_kept_in_postgresql(postgres: str, recipe: RecipeConfig, run_dir: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect@{postgres}"}
    with team_server(home, **database) as server:
        config = tmp_path / "one.yaml"
        done = server.command(
            "flows.deepscaler_recipe", "--config", str(config), "--run-dir", str(run_dir), RL_CORE_COMMAND=STAND_IN
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert [run["name"] for run in server.post("/flow_runs/filter")] == ["one"]
    asked = "select name, state_type from flow_run"
    answer = subprocess.run(
        [program("psql"), f"postgresql://prefect@{postgres}", "-tAc", asked], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "one|COMPLETED"
    assert list(home.glob("*.db")) == []
