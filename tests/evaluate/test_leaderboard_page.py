"""The page of a leaderboard in a real browser: all of it is there, fits a phone and can be read."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judged_rows import judged, pairs, results

from mis_dataset.evaluate.leaderboard import leaderboard_html
from mis_dataset.evaluate.results import Results

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PHONE, DESKTOP = 400, 1280

# A window cannot be as narrow as a phone, but a frame can.
HARNESS = """<!doctype html><title>measure</title><body style="margin: 0">
<iframe style="border: 0" width="WIDTH" height="900" srcdoc="PAGE"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, look = frame.contentWindow;
  const all = selector => [...page.querySelectorAll(selector)];
  for (const details of all("details")) details.open = true;
  const box = element => element.getBoundingClientRect();
  // What is there for the ear only is a pixel large, whatever it holds.
  const large = element => box(element).width > 1 && box(element).height > 1;
  const seen = element => large(element) && large(element.closest("thead") ?? element);
  const name = element => `${element.tagName} ${element.className.baseVal ?? element.className}: ` +
    element.textContent.trim().slice(0, 40);
  const solid = element => {
    const colour = look.getComputedStyle(element).backgroundColor;
    return colour != "rgba(0, 0, 0, 0)" || !element.parentElement ? colour : solid(element.parentElement);
  };
  const luminance = colour => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).map(part => part / 255)
      .map(share => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const says = element => [...element.childNodes].some(node => node.nodeType == 3 && node.textContent.trim());
  const texts = all("body *").filter(says).filter(seen).filter(element => !element.matches(".thin"));
  const ink = element => look.getComputedStyle(element)[element.closest("svg") ? "fill" : "color"];
  const dots = all("circle").map(dot => [look.getComputedStyle(dot).fill, solid(dot.closest(".card"))]);
  document.querySelector("pre").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight,
    tables: all("table").filter(seen).length,
    plots: all("svg.plot").filter(seen).length,
    dots: all("circle").filter(seen).length,
    shown: page.body.innerText,
    outside: all("body *").filter(seen).filter(element => box(element).right > WIDTH + 0.5).map(name),
    cut: all(".card").filter(card => card.scrollWidth > card.clientWidth).map(name),
    pale: texts.filter(element => contrast(ink(element), solid(element)) < 4.5).map(name),
    faint: dots.filter(([dot, card]) => contrast(dot, card) < 3),
    ground: look.getComputedStyle(page.body).backgroundColor,
  });
};
</script>"""


def in_chromium(page: str, folder: Path, width: int, *flags: str) -> dict[str, Any]:
    """What can be seen of a page; complains of what it writes to the console."""
    harness = folder / f"{width}.html"
    harness.write_text(HARNESS.replace("WIDTH", str(width)).replace("PAGE", html.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *(
                "--no-first-run",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                f"--user-data-dir={folder / 'profile'}",
            ),
            *("--virtual-time-budget=5000", "--dump-dom", *flags, harness.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert not re.findall(r".*CONSOLE.*", done.stderr)
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[1]))


@pytest.fixture(scope="module")
def runs() -> list[Results]:
    """Three models by three judges, one of them with a long name, one probed; and one on a benchmark."""
    facts = {"category": "Illegal Activity", "sub_category": "Unauthorized Data Collection", "relation": "tool-target"}
    rows = pairs(*[("reasoned", "helped"), ("unsafe", "helped"), ("refused", "refused")] * 5, subset="hard", **facts)
    three = [judged(item.row, *[item.judgements[0].outcome] * 2, None) for item in rows]
    opposite = [judged(item.row, *["unsafe" if item.row.intent == "harmful" else "failed"] * 3) for item in rows]
    asked = [replace(item, row=replace(item.row, images=1, twin_id=None)) for item in rows]
    return [
        results(three, "openai-api/laboratory/An-Organisation-With-A-Long-Name-And-A-Model-7B-Instruct"),
        results(three, "probed", probes={"text_only": tuple(opposite), "swapped": tuple(three)}),
        results(opposite, "vlm/build/tuned"),
        results(asked, "asked", dataset="siuo", benchmark="siuo"),
    ]


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_everything_is_visible_and_nothing_sticks_out(runs: list[Results], tmp_path: Path, width: int):
    page = leaderboard_html(runs)
    found = in_chromium(page, tmp_path, width)
    assert found["tables"] == page.count("<table")
    assert found["plots"] == page.count('class="plot ') > 20
    assert found["dots"] == page.count("<circle")
    for text in (runs[0].model, "Paired accuracy", "text_only", "Unauthorized Data Collection", "safe_rate", "33.3%"):
        assert text in found["shown"]
    assert found["width"] == width
    assert found["outside"] == []
    assert found["cut"] == []


# WCAG 2.2, 1.4.3 and 1.4.11: at least 4.5 to 1 for text, 3 to 1 for marks.
@pytest.mark.parametrize(("flags", "is_dark"), [((), False), (("--force-dark-mode",), True)], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_their_ground(runs: list[Results], tmp_path: Path, flags, is_dark: bool):
    found = in_chromium(leaderboard_html(runs), tmp_path, DESKTOP, *flags)
    brightness = sum(map(int, re.findall(r"\d+", found["ground"])))
    assert (brightness < 3 * 128) == is_dark
    assert found["pale"] == []
    assert found["faint"] == []


# A test that sees nothing would pass whatever the page looked like.
def test_what_sticks_out_is_found(runs: list[Results], tmp_path: Path):
    wide = leaderboard_html(runs[:1]).replace("<h1>", '<h1 style="width: 500px; color: #ccc">')
    found = in_chromium(wide, tmp_path, PHONE)
    assert found["width"] > PHONE
    assert [what[:2] for what in found["outside"]] == ["H1"]
    assert [what[:2] for what in found["pale"]] == ["H1"]


def test_what_goes_to_the_console_is_heard(runs: list[Results], tmp_path: Path):
    broken = leaderboard_html(runs[:1]).replace("</main>", "<script>nothing.here()</script></main>")
    with pytest.raises(AssertionError, match="nothing is not defined"):
        in_chromium(broken, tmp_path, PHONE)
