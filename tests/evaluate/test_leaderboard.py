"""Runs side by side: in a fair order, with nothing that a name could break."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from judged_rows import judged, pair, pairs, results

from mis_dataset.evaluate.leaderboard import boards, leaderboard_html, leaderboard_markdown
from mis_dataset.evaluate.records import Answered, Judgement
from mis_dataset.evaluate.results import JudgeUsed

SAFE = results(pairs(*[("reasoned", "helped")] * 6, subset="hard", category="Hate"), "safe")
HALF = results(pairs(*[("reasoned", "helped"), ("unsafe", "helped")] * 3), "half")
REFUSER = results(pairs(*[("refused", "refused")] * 6), "refuser")
HELPER = results(pairs(*[("unsafe", "helped")] * 6), "helper")
UNPAIRED = results(pairs(*[("reasoned", None)] * 6), "unpaired")
LEGACY = results([pair("one", "unsafe", None)[0]], "without twins")

SAID = [("unsafe", "refused", "unsafe"), ("helped",) * 3, ("refused", None, "unsafe"), ("helped",) * 3]
"""What three judges say of two families."""

HOSTILE = "a|b `c` *d* <script>alert(1)</script> & \"e\" 'f' [g](h)\n## i"


class Page(HTMLParser):
    """The text and the elements of a page; complains of elements that are not closed in order."""

    VOID = ("meta", "line", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def order(runs):
    return [standing.run.model for board in boards(runs) for standing in board.standings]


def test_a_model_that_refuses_everything_does_not_win():
    assert order([HELPER, REFUSER, HALF, SAFE]) == ["safe", "half", "refuser", "helper"]


def test_what_is_not_measured_comes_last():
    assert order([UNPAIRED, HELPER]) == ["helper", "unpaired"]


@pytest.mark.parametrize(
    "other",
    [
        results(SAFE.rows, "other", fingerprint="cd34"),
        results(SAFE.rows[:6], "other"),
        results(SAFE.rows, "other", decoding={"images_side": 64}),
        results(SAFE.rows, "other", judges=(JudgeUsed("judge-0", "a-judging-model", "2"),)),
        results(SAFE.rows, "other", judges=(JudgeUsed("judge-0", "another-model", "1"),)),
    ],
    ids=["data", "rows", "images", "prompt", "judge"],
)
def test_runs_of_other_data_or_by_other_judges_are_not_ranked_against_each_other(other):
    assert [[standing.run.model for standing in board.standings] for board in boards([HALF, other, SAFE])] == [
        ["safe", "half"],
        ["other"],
    ]


def test_how_answers_were_sampled_does_not_part_runs():
    assert len(boards([SAFE, results(HALF.rows, "warm", decoding={"temperature": 1.0})])) == 1


def test_one_run_is_no_leaderboard():
    assert leaderboard_markdown([SAFE]).startswith("# Results\n")
    assert leaderboard_markdown([SAFE, HALF]).startswith("# Leaderboard\n")
    assert "<h1>Results</h1>" in leaderboard_html([SAFE])


@pytest.mark.parametrize("write", [leaderboard_markdown, leaderboard_html])
def test_readers_are_told_why_a_lower_rate_alone_is_not_better(write):
    assert "A lower attack success rate alone is not better" in write([SAFE])


def tables(markdown):
    """Each table as rows of cells, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in markdown.replace("\N{EN DASH}", "-").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, []).append(cells)
    return found


def test_markdown_gives_each_rate_with_its_interval():
    found = tables(leaderboard_markdown([REFUSER, SAFE]))
    assert found["mis"][2:] == [
        ["1", "safe", "100.0% (61.0-100.0)", "0.0% (0.0-39.0)", "0.0% (0.0-39.0)", "6", "0.0%"],
        ["2", "refuser", "0.0% (0.0-39.0)", "0.0% (0.0-39.0)", "100.0% (61.0-100.0)", "6", "0.0%"],
    ]
    assert ["Subset", "hard", "100.0% (61.0-100.0), n = 6", ""] in found["Paired accuracy by group"]


def test_groups_go_down_to_sub_categories():
    run = results(pairs(("unsafe", "helped"), category="Hate", sub_category="Slurs"))
    assert ["Sub-category", "Slurs", "0.0% (0.0-79.3), n = 1"] in tables(leaderboard_markdown([run]))[
        "Paired accuracy by group"
    ]


def test_several_judges_are_shown_one_by_one_and_together():
    rows = [judged(item.row, *said) for item, said in zip(pairs(("unsafe", None), (None, None)), SAID, strict=True)]
    found = tables(leaderboard_markdown([results(rows, "contested")]))
    ends = [[row[1], row[3], row[5]] for row in found["Judge by judge"][2:]]
    assert ends == [
        ["together", "100.0% (20.7-100.0)", "25.0%"],
        ["judge-0", "50.0% (9.5-90.5)", "0.0%"],
        ["judge-1", "0.0% (0.0-79.3)", "25.0%"],
        ["judge-2", "100.0% (34.2-100.0)", "0.0%"],
    ]
    assert [row[1:3] for row in found["Agreement of the judges"][2:]] == [
        ["harmful", "2"],
        ["unsafe", "2"],
        ["benign", "2"],
    ]
    assert "judge-1 left 25.0% of the rows unscored" in leaderboard_html([results(rows, "contested")])


def test_what_a_probe_changes_is_a_paired_difference():
    run = results(SAFE.rows, "probed", probes={"blank": HELPER.rows})
    asr = next(
        row for row in tables(leaderboard_markdown([run]))["What probes change"] if row[2] == "attack success rate"
    )
    assert asr == ["probed", "blank", "attack success rate", "+100.0 (61.0-100.0)", "0 / 6", "0.0312", "6"]


def test_a_benchmark_has_its_own_rates():
    rows = [judged(Answered(name, "benign", "", images=1), end) for name, end in (("1", "refused"), ("2", "helped"))]
    run = results(rows, "asked", dataset="mossbench", benchmark="mossbench")
    assert tables(leaderboard_markdown([run]))["What MOSSBench reports"][2] == ["asked", "50.0% (9.5-90.5), n = 2"]
    assert "refusal_rate" in leaderboard_html([run])


def test_the_rows_of_a_markdown_table_are_equally_long():
    probed = results(SAFE.rows, "probed", probes={"blank": HELPER.rows})
    found = tables(leaderboard_markdown([UNPAIRED, probed, HALF]))
    assert set(found) == {
        "mis",
        "How answers end",
        "Paired accuracy by group",
        "Attack success rate by group",
        "Over-refusal by group",
        "Probes",
        "What probes change",
    }
    # Under one heading there are two tables, of four and of three ways to end.
    assert {heading: len({len(row) for row in rows}) for heading, rows in found.items()} == {
        heading: 2 if heading == "How answers end" else 1 for heading in found
    }


@pytest.mark.parametrize("probes", [{}, {"blank": HELPER.rows}])
def test_probes_are_shown_if_there_are_any(probes):
    run = results(SAFE.rows, "probed", probes=probes)
    assert ("blank" in leaderboard_markdown([run])) == bool(probes)
    assert ("blank" in leaderboard_html([run])) == bool(probes)


def by_two(item, name):
    """The row as two judges of that name judge it, of whom the second says nothing."""
    [said] = item.judgements
    return replace(item, judgements=(replace(said, judge=f"{name} 1"), Judgement(f"{name} 2", None)))


# Those who hear a page instead of seeing it.
def test_tables_and_plots_say_what_they_are():
    page = Page(leaderboard_html([SAFE, results(SAFE.rows, "probed", probes={"blank": HELPER.rows})]))
    count = Counter(tag for tag, _ in page.elements)
    assert count["table"] == count["caption"] > 0
    headings = [attributes for tag, attributes in page.elements if tag == "th"]
    assert {attributes["scope"] for attributes in headings} <= {"col", "row", "rowgroup"}
    for _, attributes in (element for element in page.elements if element[0] == "svg"):
        assert attributes.get("aria-hidden") == "true" or attributes["role"] == "img"


def test_hostile_names_stay_text():
    facts = dict.fromkeys(("subset", "category", "sub_category", "relation"), HOSTILE)
    rows = [by_two(item, HOSTILE) for item in pairs(("unsafe", "helped"), **facts)]
    judges = tuple(JudgeUsed(judgement.judge, HOSTILE, HOSTILE) for judgement in rows[0].judgements)
    run = results(rows, HOSTILE, dataset=HOSTILE, fingerprint=HOSTILE, judges=judges, probes={HOSTILE: tuple(rows)})
    plain_rows = [by_two(item, "x") for item in pairs(("unsafe", "helped"), **dict.fromkeys(facts, "x"))]
    plain = results(plain_rows, "x", dataset="x", fingerprint="x", probes={"x": tuple(plain_rows)})
    page, harmless = Page(leaderboard_html([run])), Page(leaderboard_html([plain]))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert "<script>alert(1)</script>" in page.text
    markdown = leaderboard_markdown([run])
    assert not re.search(r"(?<!\\)[<`*]", markdown)
    assert len(markdown.splitlines()) == len(leaderboard_markdown([plain]).splitlines())


def test_the_page_needs_nothing_else():
    page = Page(leaderboard_html([SAFE, HALF, LEGACY]))
    assert not {"script", "link", "img", "iframe", "image", "use"} & {tag for tag, _ in page.elements}
    assert not [attributes for _, attributes in page.elements if attributes.keys() & {"src", "href", "onload"}]
    assert "url(" not in page.text
    assert "@import" not in page.text


# WCAG 2.2, 1.4.3: at least 4.5 to 1, in light and in dark.
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_what_stands_on_a_colour_can_be_read(theme):
    styles = leaderboard_html([SAFE])
    of = dict(re.findall(r"--([\w-]+): (#\w{6})", styles.split(":root {")[theme + 1].split("}")[0]))
    default = re.search(r"^\.ends \{.*?[^-]color: var\(--([\w-]+)\)", styles, re.MULTILINE)[1]
    bars = re.findall(
        r"^\..*\{ background: var\(--(good|fair|poor|bad|void)\);(?: color: var\(--([\w-]+)\);)? \}",
        styles,
        re.MULTILINE,
    )
    assert len(bars) == 5
    for ground, ink in [*bars, ("paper", "ink"), ("card", "ink"), ("paper", "pale"), ("card", "pale")]:
        assert contrast(of[ground], of[ink or default]) >= 4.5, (ground, ink)


def contrast(one, other):
    dark, light = sorted(luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_plot_shows_the_interval_and_what_was_measured():
    page = Page(leaderboard_html([HALF]))
    (circle,) = [attributes for tag, attributes in page.elements if tag == "circle"][:1]
    whisker = next(attributes for _, attributes in page.elements if attributes.get("class") == "whisker")
    # Half the way between 0 at 8 and 1 at 192; Wilson's interval for 3 of 6 is 0.188 to 0.812.
    assert circle["cx"] == "100.0"
    assert (float(whisker["x1"]), float(whisker["x2"])) == (pytest.approx(42.5, abs=0.2), pytest.approx(157.5, abs=0.2))


def test_the_shares_of_how_answers_end_fill_the_bar():
    page = Page(leaderboard_html([HALF]))
    widths = [
        float(attributes["style"].removeprefix("width: ").removesuffix("%"))
        for _, attributes in page.elements
        if (attributes.get("style") or "").startswith("width: ")
    ]
    assert sum(widths) == pytest.approx(200)  # one bar for harmful and one for benign rows


def test_a_run_without_twins_is_shown_without_what_they_measure():
    page = Page(leaderboard_html([LEGACY]))
    labels = [
        attributes["aria-label"].replace("\N{EN DASH}", "-")
        for tag, attributes in page.elements
        if tag == "svg" and "aria-label" in attributes
    ]
    assert labels == [
        "Paired accuracy: not measured",
        "Attack success rate: 100.0%, interval 20.7-100.0",
        "Over-refusal: not measured",
    ]
