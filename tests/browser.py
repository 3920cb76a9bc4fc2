"""A headless Chromium, driven by its DevTools protocol, for tests of what a person sees in Prefect's interface."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_SECONDS = 120.0  # for what takes two on an idle machine
POLL_SECONDS = 0.1
SIZE = (1400, 1000)
BUTTONS = "button, a, [role=tab], label"

# Text of what is shown, in whichever element; the innermost that holds it comes last.
FIND = """
(selector, text) => [...document.querySelectorAll(selector)].filter(
    element => element.offsetParent !== null
        && (text === null || (element.innerText || element.value || "").trim().includes(text)))
"""


class Browser:
    """One page of a Chromium of its own. Use as a context manager, which ends it."""

    def __init__(self, folder: Path) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            pytest.skip("needs Chromium (Debian: apt-get install chromium)")
        width, height = SIZE
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--remote-debugging-port=0", "--disable-background-networking", "--disable-component-update",
                "--no-proxy-server",
                f"--window-size={width},{height}", f"--user-data-dir={folder}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._folder, self._numbers = folder, itertools.count(1)

    def __enter__(self) -> Self:
        address = self._folder / "DevToolsActivePort"
        wait_until(lambda: address.is_file() and len(address.read_text().split()) == 2, "Chromium's port")
        port, path = address.read_text().split()
        self._connection = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        target = next(
            found["targetId"]
            for found in self._send("Target.getTargets")["targetInfos"]
            if found["type"] == "page"
        )  # fmt: skip
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._send("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def open(self, address: str) -> None:
        """Go to a page."""
        self._send("Page.navigate", url=address)
        wait_until(lambda: self.run("document.readyState") == "complete", address)

    def seen_on(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of that size, in dark colours where asked."""
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page, awaited where it is a promise."""
        answer = self._send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """What the page says."""
        return str(self.run("document.body?.innerText ?? ''"))

    def wait_for(self, text: str) -> None:
        """Until the page says `text`."""
        wait_until(lambda: text in self.text(), f"{text!r} in the page", self.text)

    def click(self, text: str | None = None, selector: str = BUTTONS, last: bool = False) -> None:
        """Click what is shown under `selector` and says `text`, once it is there."""
        arguments = f"{json.dumps(selector)}, {json.dumps(text)}"
        wait_until(lambda: self.run(f"({FIND})({arguments}).length"), f"{selector} {text!r}", self.text)
        self.press(f"({FIND})({arguments}).at({-1 if last else 0})")

    def press(self, element: str) -> None:
        """Click the element that a JavaScript expression gives, with the mouse."""
        place = self.run(
            f"(() => {{ const element = {element};"
            "element.scrollIntoView({block: 'center'}); const box = element.getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def scroll_to(self, selector: str) -> None:
        """Bring the last of `selector` to the top of what is shown: lists are only made where they are seen."""
        self.run(f"[...document.querySelectorAll({json.dumps(selector)})].at(-1).scrollIntoView()")

    def type(self, text: str) -> None:
        """Type in place of what the focused field holds."""
        self._send("Input.dispatchKeyEvent", type="keyDown", key="a", code="KeyA", modifiers=2, commands=["selectAll"])
        self._send("Input.dispatchKeyEvent", type="keyUp", key="a", code="KeyA", modifiers=2)
        self._send("Input.insertText", text=text)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Save what is shown; with `whole`, the page to its end."""
        file.parent.mkdir(parents=True, exist_ok=True)
        answer = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if not method.startswith("Target."):
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])


def wait_until(true: Any, what: str, seen: Any = lambda: "") -> None:
    """Until `true()`; fails with what was seen instead."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited for {what}; there was: {seen()}"
        time.sleep(POLL_SECONDS)
