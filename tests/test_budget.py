"""What a build may cost: it stops where its recipe says, and a higher limit goes on and pays for nothing twice."""

import json
from collections import Counter
from pathlib import Path

import pytest
from chat_server import Call, ChatServer, Reply, fail, later, say_json
from lab import seen
from recipes import contents, lasting, tiny, tiny_text
from test_served_build import teacher_says

from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.budget import Cost, Limits, Prices, TokenPrice, Totals, per_row
from mis_dataset.errors import BudgetError
from mis_dataset.pipeline import BuildReport, build
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.seeds import stable_seed

DRAWN = Cost("render", "sd", images=10, seconds=1800.0)
ASKED = Cost("teach", "m", requests=3, prompt_tokens=1_000_000, completion_tokens=500_000, seconds=9.0)
PRICES = Prices(gpu_hour=2.5, models={"m": TokenPrice(prompt=3.0, completion=8.0)})


# Money


def test_money_is_tokens_and_gpu_hours_times_their_prices():
    assert PRICES.priced(DRAWN).usd == 1.25
    assert PRICES.priced(ASKED).usd == 3.0 + 4.0
    # A server's seconds cost nothing beyond its tokens.
    assert PRICES.priced(DRAWN + ASKED).usd is None


def test_one_line_of_images_and_requests_has_both_prices():
    both = Cost("render", "m", requests=1, prompt_tokens=1_000_000, images=1, seconds=3600.0)
    assert PRICES.priced(both).usd == 2.5 + 3.0


@pytest.mark.parametrize("prices", [Prices(), Prices(2.5), Prices(models=PRICES.models)])
def test_what_lacks_a_price_has_no_money(prices: Prices):
    both = Cost("render", "m", requests=1, prompt_tokens=1, images=1, seconds=1.0)
    assert prices.priced(both).usd is None


def test_totals_name_the_models_without_a_price():
    total = Totals.of([PRICES.priced(DRAWN), PRICES.priced(ASKED), Cost("screen", "judge", requests=2)])
    assert (total.requests, total.tokens, total.images) == (5, 1_500_000, 10)
    # Servers' seconds are not the accelerator's.
    assert total.gpu_seconds == 1800.0
    assert (total.usd, total.unpriced) == (8.25, ("judge",))
    assert str(total) == "5 requests, 1,500,000 tokens, 1,800 s of drawing, 8.25 USD (no price for judge)"


def test_what_a_row_took_is_everything_shared_out_over_the_rows():
    assert per_row([PRICES.priced(DRAWN), PRICES.priced(ASKED)], 4) == {
        "requests": 0.75,
        "prompt_tokens": 250_000,
        "completion_tokens": 125_000,
        "images": 2.5,
        "seconds": 452.25,
        "usd": 2.0625,
    }


# Limits


LIMITS = ("max_usd", "max_requests", "max_gpu_seconds")


def test_a_limit_on_which_the_work_ahead_does_not_draw_does_not_stop_it():
    Limits(max_gpu_seconds=1800).check(map(PRICES.priced, (DRAWN, ASKED)), "max_requests", "max_usd")


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(max_requests=3), "max_requests = 3"),
        (Limits(max_gpu_seconds=1800), "max_gpu_seconds = 1800"),
        (Limits(max_usd=8.25), "max_usd = 8.25"),
    ],
)
def test_a_limit_that_is_reached_is_named_with_what_was_spent(limits: Limits, reached: str):
    with pytest.raises(BudgetError, match=rf"limits\.{reached} is reached: 3 requests, .* 8\.25 USD"):
        limits.check(map(PRICES.priced, (DRAWN, ASKED)), *LIMITS)


def test_a_limit_is_named_as_recipes_write_it():
    with pytest.raises(BudgetError, match=r"limits\.max_requests = 1000000 is reached: 1,000,001 requests"):
        Limits(max_requests=1_000_000).check([Cost("teach", "m", requests=1_000_001)], *LIMITS)


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(max_requests=4), Limits(max_gpu_seconds=1801), Limits(max_usd=8.26)]
)
def test_below_its_limits_a_build_goes_on(limits: Limits):
    limits.check(map(PRICES.priced, (DRAWN, ASKED)), *LIMITS)


def test_requests_in_flight_count_before_they_are_answered():
    Limits(max_requests=6).check([ASKED], *LIMITS, in_flight=2)
    with pytest.raises(BudgetError, match=r"max_requests = 6 is reached: 3 requests, .*; 3 more in flight"):
        Limits(max_requests=6).check([ASKED], *LIMITS, in_flight=3)


def test_requests_in_flight_are_taken_to_cost_what_others_did_on_average():
    # Three requests took 7 dollars, the images do not matter: 8.25 and two more are just below 13.
    spent = [PRICES.priced(DRAWN), PRICES.priced(ASKED)]
    Limits(max_usd=13).check(spent, *LIMITS, in_flight=2)
    with pytest.raises(BudgetError, match="max_usd = 13 is reached"):
        Limits(max_usd=13).check(spent, *LIMITS, in_flight=3)
    # Nothing is known of the first.
    Limits(max_usd=13).check([PRICES.priced(DRAWN)], *LIMITS, in_flight=100)


# Builds with a teacher behind HTTP; one request at a time, so that a limit is met to the request


def served(
    folder: Path, server: ChatServer, limits: str = "", *, prices: str = "", screen: str = "", concurrency: int = 1
) -> Recipe:
    teacher = f'"openai_chat"\n{at(server)}\nconcurrency = {concurrency}'
    text = tiny_text(run="shard_size = 3").replace('"rules"', f'"lab:Picky"\n{screen}').replace('"template"', teacher)
    return tiny(folder, f"{text}\n[limits]\n{limits}\n{prices}")


def at(server: ChatServer) -> str:
    """The lines of a recipe that ask a server, and give up at the first trouble."""
    return f'base_url = "{server.base_url}"\nmodel = "m"\napi_key_env = ""\nbackoff_s = 0.001\nmax_retries = 0'


def built(folder: Path, recipe: Recipe) -> BuildReport:
    return build(recipe, folder / "mis", folder / "work")


def test_a_limit_of_requests_stops_the_build_and_a_higher_one_goes_on(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        with pytest.raises(BudgetError) as stopped:
            built(tmp_path, served(tmp_path, server, "max_requests = 5"))
        assert len(server.calls) == 5
        assert not (tmp_path / "mis").exists()
        assert str(stopped.value) == (
            "limits.max_requests = 5 is reached: 5 requests, 600 tokens, 0 s of drawing, 0.00 USD (no price for m); "
            "the first round is not complete; `mis status` shows how far it is; "
            "raise the limit and run again: what was paid for is kept"
        )
        # Neither more nor less than before: nothing is spent on finding out.
        with pytest.raises(BudgetError):
            built(tmp_path, served(tmp_path, server, "max_requests = 5"))
        assert len(server.calls) == 5
        report = built(tmp_path, served(tmp_path, server, "max_requests = 5000"))
        assert set(Counter(json.dumps(call.body) for call in server.calls).values()) == {1}
        assert [cost.requests for cost in report.spent] == [len(server.calls)]
        # As if there had been no limit.
        build(served(tmp_path, server), tmp_path / "unlimited", tmp_path / "elsewhere")
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "unlimited")


def test_many_requests_at_once_keep_to_the_limit_and_none_is_lost(tmp_path: Path):
    with ChatServer(lambda call: later(teacher_says(call), 0.05)) as server:
        for limit in (5, 5, 9):
            with pytest.raises(BudgetError, match=f"max_requests = {limit} is reached"):
                built(tmp_path, served(tmp_path, server, f"max_requests = {limit}", concurrency=16))
            assert len(server.calls) == limit
        assert server.most_at_once > 2
        report = built(tmp_path, served(tmp_path, server, concurrency=16))
        assert set(Counter(json.dumps(call.body) for call in server.calls).values()) == {1}
        assert [cost.requests for cost in report.spent] == [len(server.calls)]


def test_a_limit_that_is_just_enough_is_enough(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        (cost,) = built(tmp_path, served(tmp_path, server)).spent
        enough = served(tmp_path, server, f"max_requests = {cost.requests}")
        build(enough, tmp_path / "again", tmp_path / "elsewhere")
    assert lasting(tmp_path / "again") == lasting(tmp_path / "mis")


PICKY = 'sub_category = "Drug-Related Offenses"\nshare = 0.2'


def test_a_limit_that_is_reached_in_a_later_round_says_what_is_missing(tmp_path: Path):
    def rounds(number: int, limit: str = "") -> Recipe:
        return served(tmp_path, server, f"max_rounds = {number}\n{limit}", screen=PICKY)

    with ChatServer(teacher_says) as server:
        # The first round's dataset, which is what the message proposes to be content with.
        build(rounds(1), tmp_path / "one", tmp_path / "work")
        first = len(server.calls)
        with pytest.raises(
            BudgetError, match=r"rows are missing \(hard / Drug-Related Offenses \d of 3\); limits\.max_ro"
        ):
            built(tmp_path, rounds(6, f"max_requests = {first + 2}"))
        # What another build paid for counts as well where it is used.
        assert len(server.calls) == first + 2
        assert not (tmp_path / "mis").exists()
        assert built(tmp_path, rounds(6, "max_requests = 5000")).rounds > 1
        assert set(Counter(json.dumps(call.body) for call in server.calls).values()) == {1}
        build(rounds(6), tmp_path / "unlimited", tmp_path / "elsewhere")
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "unlimited")


# 100 tokens of a prompt and 20 of an answer make 0.002 dollars.
M = "[prices.models.m]\nprompt = 10.0\ncompletion = 50.0\n"


def test_a_limit_of_money_follows_the_prices(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        with pytest.raises(BudgetError, match=r"max_usd = 0\.009 is reached: 5 requests, 600 tokens, .* 0\.01 USD;"):
            built(tmp_path, served(tmp_path, server, "max_usd = 0.009", prices=M))
        assert len(server.calls) == 5
        report = built(tmp_path, served(tmp_path, server, "max_usd = 9.0", prices=M))
    (cost,) = report.spent
    assert cost.usd == pytest.approx(0.002 * len(server.calls))


def test_a_model_without_a_price_counts_no_money(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        report = built(tmp_path, served(tmp_path, server, prices=M.replace("models.m", "models.n")))
    assert [cost.usd for cost in report.spent] == [None]
    assert Totals.of(report.spent).unpriced == ("m",)


# Builds with a renderer on an accelerator


def drawn(folder: Path, limits: str = "", prices: str = "", *, render: str = "", check: str = "") -> Recipe:
    """Draws in one shard, and logs the seeds of what is drawn in ``drawn.txt``."""
    renderer = f'"lab:Accelerated"\nlog = "{folder / "drawn.txt"}"\n{render}'
    text = tiny_text(run="shard_size = 100").replace('"pictogram"\nsize = 64', renderer)
    return tiny(folder, f"{text}\n{check}\n[limits]\n{limits}\n[prices]\n{prices}")


def checked(server: ChatServer) -> str:
    return f'[check]\nbackend = "openai_chat"\nmax_refinements = 1\nconcurrency = 16\n{at(server)}'


def checker_says(call: Call) -> Reply:
    """One object in four has to be drawn from a better prompt."""
    prompt = call.texts[-1]
    thing = prompt.partition("<thing>\n")[2].partition("\n</thing>")[0]
    shows = "on plain paper" in prompt or stable_seed(thing) % 4 != 0
    better = "" if shows else f"{thing}, on plain paper"
    return say_json({"detail": "A thing.", "shows": shows, "better_prompt": better})


def assert_drawn_once(folder: Path, report: BuildReport) -> None:
    """Nothing was drawn twice, everything is charged, and the dataset is as if it had been built in one go."""
    seeds = seen(folder / "drawn.txt")
    assert len(seeds) == len(set(seeds)) == sum(cost.images for cost in report.spent)
    build(load_recipe(folder / "recipe.toml"), folder / "steady", folder / "elsewhere")
    assert sorted(seen(folder / "drawn.txt")[len(seeds) :]) == sorted(seeds)
    assert lasting(folder / "mis") == lasting(folder / "steady")


def test_a_limit_of_gpu_seconds_stops_within_a_shard_and_a_higher_one_draws_the_rest(tmp_path: Path):
    # Each image takes a millisecond at least, and a few are encoded while the next is drawn.
    with pytest.raises(BudgetError, match=r"max_gpu_seconds = 0\.003 is reached: 0 requests, 0 tokens"):
        built(tmp_path, drawn(tmp_path, "max_gpu_seconds = 0.003"))
    begun = seen(tmp_path / "drawn.txt")
    assert list((tmp_path / "work").glob("render-*/shard-*.parquet")) == []
    assert not (tmp_path / "mis").exists()
    report = built(tmp_path, drawn(tmp_path, "max_gpu_seconds = 3600"))
    assert 0 < len(begun) < len(seen(tmp_path / "drawn.txt"))
    assert_drawn_once(tmp_path, report)


def test_a_limit_that_stops_the_checker_draws_nothing_again(tmp_path: Path):
    with ChatServer(checker_says) as server:
        for limit in (5, 60):
            with pytest.raises(BudgetError, match=f"max_requests = {limit} is reached"):
                built(tmp_path, drawn(tmp_path, f"max_requests = {limit}", check=checked(server)))
            assert len(server.calls) == limit
        report = built(tmp_path, drawn(tmp_path, check=checked(server)))
        assert set(Counter(json.dumps(call.body) for call in server.calls).values()) == {1}
        assert sum(cost.requests for cost in report.spent) == len(server.calls)
        assert_drawn_once(tmp_path, report)


def test_a_lost_check_draws_nothing_again_and_is_asked_for_again(tmp_path: Path):
    with ChatServer(lambda call: fail(503) if call.number == 7 else checker_says(call)) as server:
        report = built(tmp_path, drawn(tmp_path, check=checked(server)))
        assert not [one for one in report.funnel if one.outcome == "failed"]
        lost = json.dumps(server.calls[7].body)
        asked = Counter(json.dumps(call.body) for call in server.calls)
        assert [body for body, times in asked.items() if times > 1] == [lost]
        assert_drawn_once(tmp_path, report)


def test_spoilt_images_alone_are_drawn_again(tmp_path: Path):
    recipe = drawn(tmp_path)
    built(tmp_path, recipe)
    seeds = seen(tmp_path / "drawn.txt")
    gone, damaged, *_ = sorted((tmp_path / "work" / "images").rglob("*.png"))
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    report = build(recipe, tmp_path / "again", tmp_path / "work")
    again = seen(tmp_path / "drawn.txt")[len(seeds) :]
    assert len(again) == 2
    assert set(again) < set(seeds)
    # Drawn twice, paid twice.
    assert [cost.images for cost in report.spent] == [len(seeds) + 2]
    assert lasting(tmp_path / "again") == lasting(tmp_path / "mis")


def test_another_setting_of_the_renderer_draws_everything_anew(tmp_path: Path):
    built(tmp_path, drawn(tmp_path))
    seeds = seen(tmp_path / "drawn.txt")
    report = build(drawn(tmp_path, render="seconds = 0.002"), tmp_path / "other", tmp_path / "work")
    assert seen(tmp_path / "drawn.txt") == seeds * 2
    assert [cost.images for cost in report.spent] == [len(seeds)]


def test_larger_quotas_draw_nothing_again(tmp_path: Path):
    build(drawn(tmp_path), tmp_path / "small", tmp_path / "work")
    small = seen(tmp_path / "drawn.txt")
    larger = (tmp_path / "recipe.toml").read_text().replace('"Cybercrimes" = 2', '"Cybercrimes" = 5')
    report = built(tmp_path, tiny(tmp_path, larger.replace('"Psychological Harm" = 1', '"Psychological Harm" = 4')))
    seeds = seen(tmp_path / "drawn.txt")
    assert len(seeds) == len(set(seeds)) > len(small)
    # What was drawn for the smaller counts here as well, where it is used: all of it.
    assert [cost.images for cost in report.spent] == [len(seeds)]
    build(load_recipe(tmp_path / "recipe.toml"), tmp_path / "steady", tmp_path / "elsewhere")
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "steady")


def test_gpu_seconds_that_are_spent_do_not_stop_the_teacher(tmp_path: Path):
    build(drawn(tmp_path), tmp_path / "mis", tmp_path / "work", to="render")
    with ChatServer(teacher_says) as server:
        drawn(tmp_path, "max_gpu_seconds = 0.001")
        text = (tmp_path / "recipe.toml").read_text()
        text = text.replace('"template"', f'"openai_chat"\n{at(server)}').replace('"rules"', '"lab:Picky"')
        drawing, teaching = built(tmp_path, tiny(tmp_path, text)).spent
    assert drawing.seconds > 0.001
    assert teaching.requests == len(server.calls) > 0


def test_drawn_images_are_charged_with_their_seconds(tmp_path: Path):
    (cost,) = built(tmp_path, drawn(tmp_path, prices="gpu_hour = 3600.0")).spent
    images = list((tmp_path / "work" / "images").rglob("*.png"))
    assert (cost.stage, cost.model, cost.images) == ("render", "noise", len(images))
    assert cost.seconds >= 0.001 * len(images)
    assert cost.usd == pytest.approx(cost.seconds)


# What the dataset says of it


def table(card: str) -> dict[str, list[str]]:
    """The card's rows of costs by stage."""
    section = card.partition("## What it took\n")[2].partition("\n\nSeconds are")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows}


def test_manifest_and_card_tell_what_it_cost(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        recipe = served(tmp_path, server, prices=M)
        report = built(tmp_path, recipe)
        calls, rows = len(server.calls), len(report.split.rows)
    (cost,) = report.spent
    manifest = read_manifest(tmp_path / "mis")
    assert manifest["spent_per_row"] == per_row(report.spent, rows)
    assert manifest["spent"] == [
        {
            "stage": "teach",
            "model": "m",
            "requests": calls,
            "prompt_tokens": 100 * calls,
            "completion_tokens": 20 * calls,
            "images": 0,
            "seconds": cost.seconds,
            "usd": pytest.approx(0.002 * calls),
        }
    ]
    lines = table((tmp_path / "mis" / "README.md").read_text("utf-8"))
    seconds, usd = f"{cost.seconds:.1f}", f"{cost.usd:.4f}"
    assert lines["teach"] == ["m", str(calls), str(100 * calls), str(20 * calls), "0", seconds, usd]
    each = [f"{number / rows:.1f}" for number in (calls, 100 * calls, 20 * calls, 0, cost.seconds)]
    assert lines["per accepted row"] == ["", *each, f"{cost.usd / rows:.4f}"]


def test_where_there_is_no_price_the_card_names_none_and_says_so(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        built(tmp_path, served(tmp_path, server))
    card = (tmp_path / "mis" / "README.md").read_text("utf-8")
    assert table(card)["teach"][-1] == "-"
    assert "Money follows the prices in the recipe, which names none for m." in card


def test_a_build_that_used_no_server_and_no_accelerator_spent_nothing(tmp_path: Path):
    report = built(tmp_path, tiny(tmp_path, f"{tiny_text()}\n[limits]\nmax_usd = 0.01\nmax_requests = 1"))
    assert report.spent == ()
    manifest = read_manifest(tmp_path / "mis")
    assert (manifest["spent"], manifest["spent_per_row"]) == ([], {})
    assert "## What it took" not in contents(tmp_path / "mis")["README.md"].decode()
