import logging

import pytest

from tasks import publishing
from tasks.log_levels import level_of


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("warning: nothing says what this model was trained on", logging.WARNING),
        ("  warning: not asked alike", logging.WARNING),
        ("error: stages.0.steps: Input should be a valid integer", logging.ERROR),
        ("Traceback (most recent call last):", logging.ERROR),
        ("[rank1]: Traceback (most recent call last):", logging.ERROR),
        ("WARNING 11-26 12:00:00 [config.py:12] slow", logging.WARNING),
        ("(EngineCore_0 pid=77) ERROR 11-26 12:00:00 [core.py:12] failed", logging.ERROR),
        ("CRITICAL:root:the end", logging.CRITICAL),
        ("[W1126 12:00:00.123456789 socket.cpp:462] [c10d] waits", logging.WARNING),
        ("[rank0]:[E1126 12:00:00.123456789 ProcessGroupNCCL.cpp:616] timeout", logging.ERROR),
        ("W1126 12:00:00.123000 77 torch/distributed/run.py:803] threads", logging.WARNING),
        ("[2026-11-26 12:00:00,123] [WARNING] [stage.py:1:run] no room", logging.WARNING),
        ("wandb: ERROR no network", logging.ERROR),
        ("/opt/lib/a.py:3: UserWarning: old", logging.WARNING),
        ("NCCL_ASYNC_ERROR_HANDLING=1", logging.INFO),
        ("ERROR_HANDLING=1", logging.INFO),
        ("error bars are over problems", logging.INFO),
        ("no warnings: everything as asked", logging.INFO),
        ("[INFO] a WARNING is a word", logging.INFO),
        ("Within 1234 steps", logging.INFO),
    ],
)
def test_a_line_says_at_its_beginning_how_serious_it_is(line: str, level: int) -> None:
    assert level_of(line) == level


def test_lines_of_a_stage_are_logged_by_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(publishing, "get_run_logger", lambda: logging.getLogger("stage"))
    journal = publishing.StageJournal("key")
    with caplog.at_level(logging.INFO, logger="stage"):
        for line in ("warning: small", "NCCL_ASYNC_ERROR_HANDLING=1"):
            journal.take(line, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
