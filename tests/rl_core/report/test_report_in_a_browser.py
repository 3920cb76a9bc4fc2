"""The report in a real browser: on a desk and on a phone, in light and in dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_core.report import write_report
from tests.browser import Browser, wait_until
from tests.rl_core.report import synthetic_run

DESK, PHONE = (1280, 900), (390, 844)
PICTURES = "[...document.images].map(image => image.complete && image.naturalWidth > 0)"
# Relative luminance of a colour `rgb(r, g, b)`; source: WCAG 2, relative luminance.
LUMINANCE = """
(element, property) => {
    const channels = getComputedStyle(element)[property].match(/[\\d.]+/g).slice(0, 3).map(value => value / 255);
    const [r, g, b] = channels.map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Before the report of a finished run whose time was recorded."""
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path_factory.mktemp("runs") / "synthetic"))
    synthetic_run.write_work(run, "train 8k", 3600.0, accelerators=8)
    write_report(run)
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.open((run.root / "report.html").as_uri())
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_fits_and_all_of_it_can_be_read(
    size: tuple[int, int], dark: bool, browser: Browser, tmp_path: Path
) -> None:
    browser.seen_on(*size, dark=dark)
    browser.picture(tmp_path / "report.png", whole=True)
    assert browser.run("document.documentElement.scrollWidth") <= size[0], "nothing sticks out to the side"
    assert browser.run(PICTURES) == [True] * 4
    assert (browser.run(f"({LUMINANCE})(document.body, 'backgroundColor')") < 0.1) == dark
    ratios = browser.run(
        f"""[...document.querySelectorAll("p, td, th, dt, dd, small, a, figcaption, li, code")].map(element => {{
            const of = {LUMINANCE};
            const box = element.closest(".figures div, pre") ?? document.body;
            const [low, high] = [of(element, "color"), of(box, "backgroundColor")].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        }})"""
    )
    assert min(ratios) >= 4.5, "WCAG's least contrast of text"


def test_dark_pages_show_dark_pictures(browser: Browser) -> None:
    light = browser.run("document.querySelector('picture > img').src")
    dark = browser.run("document.querySelector('picture > source').srcset")
    assert light != dark
    for is_dark, picture in ((True, dark), (False, light), (True, dark)):
        browser.seen_on(*DESK, dark=is_dark)
        wait_until(lambda of=picture: browser.run("document.images[0].currentSrc") == of, f"dark {is_dark}")


def test_the_page_asks_for_nothing(browser: Browser) -> None:
    asked = browser.run("performance.getEntriesByType('resource').map(entry => entry.name.slice(0, 15))")
    assert [address for address in asked if not address.startswith("data:image/png")] == []


def test_a_link_of_the_contents_leads_to_its_section(browser: Browser) -> None:
    browser.seen_on(*DESK)
    browser.click("Time and cost", selector="nav a")
    top = browser.run("document.getElementById('time-and-cost').getBoundingClientRect().top")
    assert -1 <= top < DESK[1]
