"""The report in a real browser: Chromium without a window, driven by Selenium; skipped, saying so, where there is none.

Debian has both parts, and they are installed from there where root runs the tests, as in a container.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser tests need selenium (uv sync)")
Command = Callable[..., Any]
NASTY = (
    "</script><script>window.bad=1</script>",
    "<img src=x onerror=window.bad=1>",
    "猫 <b>&amp;</b>",
    "\u202eevil",
    "x" * 90,
)
WIDTHS, THEMES = (360, 1440), ("light", "dark")
GROUND = "return getComputedStyle(document.body).backgroundColor"
PACKAGES = ("chromium", "chromium-driver")
LOGS = {"browser": "ALL", "performance": "ALL"}


def programs() -> tuple[str | None, str | None]:
    """The browser, and what drives it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")


def installed() -> str:
    """Installs both, if that can be done; the command, or why it failed."""
    words, environment = (
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends"),
        {"DEBIAN_FRONTEND": "noninteractive"},
    )
    if os.name != "posix" or os.getuid() != 0 or shutil.which("apt-get") is None:
        return " ".join((*words, *PACKAGES))
    for command in (("apt-get", "update", "-qq"), (*words, *PACKAGES)):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=300, env={**os.environ, **environment})
        except (OSError, subprocess.SubprocessError) as error:
            return f"{' '.join(command)}: {error}"
    return ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser, for all tests of this file."""
    reason = "" if all(programs()) else installed()
    chromium, driver = programs()
    if chromium is None or driver is None:
        pytest.skip(f"no Chromium here: {reason}")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("headless=new", "disable-gpu", "disable-dev-shm-usage", *(["no-sandbox"] if os.getuid() == 0 else [])):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", LOGS)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.set_page_load_timeout(120)
    yield started
    started.quit()


def opened(browser: Any, page: Path, width: int = 1440, theme: str = "light") -> None:
    """Opens a page for a screen of a width whose user likes a theme."""
    for kind in LOGS:
        browser.get_log(kind)  # what was before
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.absolute().as_uri())


def complaints(browser: Any) -> list[str]:
    """What the console says, but for the browser's own remarks."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def asked_for(browser: Any) -> set[str]:
    """The kinds of addresses that the page had the browser ask for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls
    return {url.split(":")[0] for url in urls}


def text_of(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def said_in(browser: Any, selector: str) -> str:
    """The text as it was put in, whatever capitals the style makes of it."""
    return str(browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def press(browser: Any, *keys: str) -> None:
    """Presses keys where the focus is."""
    browser.switch_to.active_element.send_keys(*keys)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_at_each_width_and_in_each_theme(run: Path, browser: Any, width: int, theme: str) -> None:
    opened(browser, run / "report.html", width, theme)
    assert complaints(browser) == []
    assert asked_for(browser) <= {"file", "data"}, "nothing comes from a network"
    scrolled, shown = browser.execute_script(
        "const d = document.documentElement; return [d.scrollWidth, d.clientWidth]"
    )
    assert scrolled <= shown <= width, "nothing to scroll sideways"
    brightness = sum(map(int, re.findall(r"\d+", browser.execute_script(GROUND))[:3])) / 3
    assert brightness > 200 if theme == "light" else brightness < 60
    outside = browser.execute_script("""
        const inside = (node) => node.closest('.scroll, .visually-hidden, .skip, .tip') === null;
        return [...document.querySelectorAll('body *')].filter(inside).filter((node) => {
            const box = node.getBoundingClientRect();
            return box.width && (box.left < -1 || box.right > document.documentElement.clientWidth + 1);
        }).map((node) => node.outerHTML.slice(0, 120))""")
    assert outside == []
    names = browser.execute_script("""
        return [...document.querySelectorAll('button, select, input, a, [role=button], [role=img], [role=region], img')]
            .filter((node) => !(node.getAttribute('aria-label') || node.getAttribute('alt') || node.textContent.trim()
                || node.labels?.length)).map((node) => node.outerHTML.slice(0, 120))""")
    assert names == [], "everything that can be used has a name"
    assert all(
        text_of(browser, f"#{part}-title") for part in ("front", "subnet", "genes", "rounds", "cost", "settings")
    )


def test_figures_are_those_of_front_json(run: Path, browser: Any) -> None:
    report = json.loads((run / "front.json").read_text())
    opened(browser, run / "report.html")
    assert said_in(browser, "#verdict") == report["verdict"][0]
    compared = text_of(browser, "#compared") if report["comparisons"] else ""
    for comparison in report["comparisons"]:
        (line,) = (line for line in compared.splitlines() if line.startswith(comparison["control"]))
        difference = f"{100 * comparison['difference']:+.1f} pp".replace("-", "−")
        assert difference in line and comparison["net"] in line
    table = text_of(browser, "#numbers + div")
    for row in [*report["front"], *report["controls"]]:
        (line,) = (line for line in table.splitlines() if row["id"] in line)
        assert f"{row['macs'] / 1e6:.{3 if row['macs'] < 1e6 else 2}f} M" in line
        assert f"{100 * row['test_top1']:.2f} %" in line and f"{100 * row['finetuned_val_top1']:.2f} %" in line
    places = browser.execute_script("""
        return Object.fromEntries([...document.querySelectorAll('[data-id]')].map((point) => {
            const box = point.querySelector('.mark').getBoundingClientRect();
            return [point.dataset.id, [box.left + box.width / 2, box.top + box.height / 2]];
        }))""")
    assert set(places) == {row["id"] for row in [*report["front"], *report["controls"]]}
    rows = {row["id"]: row for row in [*report["controls"], *report["front"]]}
    for axis, key, sign in ((0, "macs", 1), (1, "test_top1", -1)):
        for one in rows.values():
            for other in rows.values():
                apart = sign * (places[one["id"]][axis] - places[other["id"]][axis])
                assert abs(apart) < 0.5 if one[key] == other[key] else apart * (one[key] - other[key]) > 0


def test_by_keyboard(run: Path, browser: Any, command: Command, tmp_path: Path) -> None:
    """Points take the focus and choose a subnet; arrows move the slider, and its command does what it says."""
    opened(browser, run / "report.html", 360)
    ids = browser.execute_script("return [...document.querySelectorAll('[data-id]')].map((point) => point.dataset.id)")
    browser.execute_script("document.querySelector('[data-id]').focus()")
    for id in [*ids[1:], ids[0]]:
        press(browser, "\ue014")  # to the right
        press(browser, " ")
        focused = browser.execute_script("return document.activeElement.dataset.id")
        assert focused == id and text_of(browser, "#subnet-title code") == id
        assert (
            browser.execute_script("return getComputedStyle(document.activeElement.querySelector('.ring')).strokeWidth")
            == "4px"
        )
        assert id in text_of(browser, ".tip")
    kinds = browser.execute_script(
        "return document.querySelectorAll('#architecture .block:not(.plain):not(.absent)').length"
    )
    net = json.loads((run / "front.json").read_text())["front"][0]["architecture"]
    assert ids[0] == json.loads((run / "front.json").read_text())["front"][0]["id"] and kinds == sum(net["d"])
    browser.execute_script("document.querySelector('#budget').focus()")
    found = set()
    for number, keys in enumerate(("\ue010", "\ue011", "\ue014" * 60)):  # to the end, to the beginning, sixty steps
        press(browser, keys)
        words = text_of(browser, "#pick-command").split()
        found.add(words[words.index("--max-macs") + 1])
        named = text_of(browser, "#picked button")
        out = tmp_path / str(number)
        outcome = command("pick", run, "--max-macs", words[words.index("--max-macs") + 1], "-o", out, "--json")
        assert outcome.code == 0 and outcome.json["id"] == named == words[-1]
        assert named in browser.execute_script(
            "return document.querySelector('#budget').getAttribute('aria-valuetext')"
        )
    sizes = browser.execute_script("return pickable.map((net) => net.macs)")
    assert len(found) >= 2 or max(sizes) < 1.01 * min(sizes), "the budget follows the keys"


def test_the_theme_can_be_chosen(run: Path, browser: Any) -> None:
    opened(browser, run / "report.html", theme="light")
    seen = [browser.execute_script(GROUND)]
    for _ in range(3):
        browser.execute_script("document.querySelector('#theme').click()")
        seen.append(browser.execute_script(GROUND))
    assert seen[0] == seen[1] == seen[3] != seen[2], "as the system has it, light, dark, as the system has it"


def test_names_are_text_whatever_they_say(run: Path, browser: Any, command: Command, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "it's <b>a run</b>"))
    for labels in copied.glob("*/*/labels.json"):
        labels.write_text(json.dumps([*NASTY, *map(str, range(10 - len(NASTY)))]))
    report = json.loads((copied / "front.json").read_text())
    report["dataset"] = NASTY[0]
    report["verdict"][0] = NASTY[1]
    (copied / "front.json").write_text(json.dumps(report))
    assert command("report", copied).code == 0
    opened(browser, copied / "report.html", 360)
    assert complaints(browser) == []
    assert browser.execute_script("return window.bad") is None
    assert text_of(browser, "h1") == browser.title.removesuffix(": NAT report") == NASTY[0]
    assert said_in(browser, "#verdict") == NASTY[1]
    classes = browser.execute_script(
        "return [...document.querySelectorAll('#classes bdi')].map((cell) => cell.textContent)"
    )
    assert set(NASTY) <= set(classes)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    assert "'\\''" in text_of(browser, "#pick-command"), "a quote in a path is quoted for the shell"


def test_a_run_that_is_not_finished(run: Path, browser: Any, command: Command, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    (copied / "front.json").unlink()
    assert command("report", copied).code == 0
    for width in WIDTHS:
        opened(browser, copied / "report.html", width)
        assert complaints(browser) == [] and "is not finished" in text_of(browser, "#unfinished")
        assert not browser.execute_script("return document.querySelector('#budget')"), "nothing can be picked yet"
    config = json.loads((copied / "config.json").read_text())
    del config["data"]["name"]  # as the first versions had it
    (copied / "config.json").write_text(json.dumps(config))
    assert command("report", copied, "--figures", tmp_path / "figures").code == 0
    opened(browser, copied / "report.html")
    assert complaints(browser) == [] and "older version" in text_of(browser, "#notes")
    (copied / "archive.sqlite").unlink()
    assert command("report", copied).code == 0
    opened(browser, copied / "report.html")
    assert complaints(browser) == [] and "There is no front yet" in text_of(browser, "#front")
