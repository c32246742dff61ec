"""What a recipe is expected to need, reckoned by hand and from a sample."""

import json
from pathlib import Path

import lab
import pytest
from chat_server import ChatServer
from recipes import tiny, tiny_text
from test_served_build import teacher_says

from mis_dataset.budget import Cost
from mis_dataset.chat import Ask
from mis_dataset.errors import BackendError, DatasetError, UsageError
from mis_dataset.forecast import Forecast, extrapolate, forecast
from mis_dataset.pipeline import build
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.resources import resource

# 6 rows need 12 families, half of which are accepted, from 24 seeds; each has 2.5 images, and half of them a twin with
# half an image more: 36 images, 18 rows.
PLANNED = """
name = "planned"
seed = 1
[quotas]
hard = { "Cybercrimes" = 6 }
[compose]
backend = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
model = "composer"
seeds = "nowhere.jsonl"
oversample = 1.5
twins = 0.5
[render]
backend = "diffusion"
model = "some/weights"
[check]
backend = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
model = "checker"
[teach]
backend = "lab:Wordy"
model = "wordy"
[[critic]]
backend = "openai_judge"
base_url = "http://127.0.0.1:9/v1"
model = "judge"
[[screen]]
backend = "rules"
[[screen]]
backend = "openai_expert"
base_url = "http://127.0.0.1:9/v1"
name = "judge-2"
model = "judge"
[[screen]]
backend = "openai_expert"
name = "twice"
base_url = "http://127.0.0.1:9/v1"
model = "judge"
[rates]
seconds_per_image = 4.0
image_tokens = 1000
images_per_question = 2.5
families_per_seed = 0.5
accepted = 0.5
redraws = 0.25
rewrites = 0.5
[prices]
gpu_hour = 2.0
[prices.models.wordy]
prompt = 0.0
completion = 1000.0
"""


def planned(folder: Path, text: str = PLANNED) -> tuple[Forecast, dict[tuple[str, str], Cost]]:
    expected = forecast(tiny(folder, text))
    return expected, {(cost.stage, cost.model): cost for cost in expected.costs}


# Reckoned


def test_requests_follow_from_what_there_is_one_of_each(tmp_path: Path):
    expected, costs = planned(tmp_path)
    assert (expected.rows, expected.seeds) == (6, 24)
    assert {key: cost.requests for key, cost in costs.items()} == {
        ("compose", "composer"): 2 * 24 + 4 * 12,  # extract and keep a seed; rewrite, detoxify, twin, check a family
        ("render", "some/weights"): 0,
        ("render", "checker"): 45,  # every image, and a quarter of them once more
        ("teach", "wordy"): 27,  # every row, and half of them once more
        ("teach", "judge"): 27,
        ("screen", "judge"): 2 * (12 + 36 + 18),  # both experts look at question, images and both together
    }


def test_images_and_their_seconds_follow_from_rates_and_money_from_prices(tmp_path: Path):
    drawn = planned(tmp_path)[1]["render", "some/weights"]
    assert drawn == Cost("render", "some/weights", images=45, seconds=180.0, usd=0.1)


def test_of_a_cpu_no_speed_is_known_unless_the_recipe_names_it(tmp_path: Path):
    text = PLANNED.replace('model = "some/weights"', 'model = "some/weights"\ndevice = "cpu"')
    assert planned(tmp_path, text)[1]["render", "some/weights"].seconds == 0
    named = text.replace("seconds_per_image = 4.0", "seconds_per_image = 60.0")
    assert planned(tmp_path, named)[1]["render", "some/weights"].seconds == 45 * 60


def test_tokens_follow_from_the_prompts_and_the_images_that_are_shown(tmp_path: Path):
    taught = planned(tmp_path)[1]["teach", "wordy"]
    letters = 2 * len(Path(lab.__file__).read_text("utf-8"))
    # Four letters a token, a question of 40 tokens, 2.5 images of 1,000.
    assert taught.prompt_tokens == round(27 * (letters / 4 + 40 + 2500))
    assert (taught.completion_tokens, taught.usd) == (27 * 50, 1.35)


@pytest.mark.parametrize(("images", "shown"), [("none", 0), ("one", 700), ("all", 2100)])
def test_an_ask_shows_none_one_or_all_images(tmp_path: Path, images: str, shown: int):
    (tmp_path / "prompt.txt").write_text("four" * 10)
    ask = Ask("row", (tmp_path / "prompt.txt",), 1, images)
    assert ask.prompt_tokens(image_tokens=700, images_per_question=3.0) == 10 + 40 + shown


def test_an_ask_says_how_much_is_filled_into_its_prompt(tmp_path: Path):
    (tmp_path / "prompt.txt").write_text("four" * 10)
    ask = Ask("seed", (tmp_path / "prompt.txt",), 1, filling_tokens=500)
    assert ask.prompt_tokens(image_tokens=700, images_per_question=3.0) == 10 + 500


def test_many_families_are_expected_where_more_are_composed_than_get_lost(tmp_path: Path):
    # 6 x 4 rather than 6 / 0.5.
    assert planned(tmp_path, PLANNED.replace("oversample = 1.5", "oversample = 4"))[0].seeds == 48


@pytest.mark.parametrize(
    ("quotas", "seeds", "images"),
    [
        ('real = { "Cybercrimes" = 3 }', 24, 45),
        ('real = { "Cybercrimes" = 12 }', 48, 45),
        ('real = { "Identity Theft" = 6 }', 48, 45),
    ],
    ids=["fewer than hard", "more than hard", "elsewhere"],
)
def test_photographed_rows_share_the_seeds_of_drawn_ones_and_draw_nothing(
    tmp_path: Path, quotas: str, seeds: int, images: int
):
    text = PLANNED.replace("[compose]", f"{quotas}\n[compose]").replace(
        "[check]", '[real]\nbackend = "photographs"\ncorpus = "nowhere"\n[check]'
    )
    expected, costs = planned(tmp_path, text)
    assert (expected.seeds, costs["render", "some/weights"].images) == (seeds, images)


def test_a_recipe_without_servers_and_accelerators_needs_nothing(tmp_path: Path):
    expected = forecast(tiny(tmp_path))
    assert expected == Forecast(rows=9, seeds=0, costs=())
    assert not expected.is_costly


def test_the_papers_recipe_needs_no_key_seeds_or_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(resource("builder_scripts", "paper.toml"))
    expected = forecast(recipe)
    assert expected.rows == 6212
    assert expected.is_costly
    assert {(cost.stage, cost.model) for cost in expected.costs} == {
        ("compose", "Qwen/Qwen2.5-72B-Instruct"),
        ("render", "stabilityai/stable-diffusion-3.5-large"),
        ("render", "OpenGVLab/InternVL2_5-78B"),
        ("teach", "OpenGVLab/InternVL2_5-78B"),
        ("teach", "gpt-4o-2024-11-20"),
        ("screen", "OpenGVLab/InternVL2_5-78B"),
        ("screen", "gpt-4o-2024-11-20"),
    }
    # A build does need them.
    with pytest.raises(BackendError):
        build(recipe, tmp_path / "mis", tmp_path / "work")


@pytest.mark.parametrize(
    ("cost", "costly"),
    [
        (Cost("teach", "m", requests=5000, usd=1.0), False),
        (Cost("teach", "m", requests=1, usd=1.01), True),
        (Cost("render", "sd", images=1, seconds=3600.0), False),
        (Cost("render", "sd", images=1, seconds=3601.0), True),
        (Cost("teach", "m", requests=1000), False),
        (Cost("teach", "m", requests=1001), True),
    ],
)
def test_costly_is_what_takes_money_gpu_hours_or_many_requests_of_unknown_price(cost: Cost, costly: bool):
    assert Forecast(1, 0, (cost,)).is_costly is costly


# From a sample


def served(folder: Path, server: ChatServer) -> Recipe:
    teacher = f'"openai_chat"\nbase_url = "{server.base_url}"\nmodel = "m"\napi_key_env = ""'
    text = tiny_text().replace('"template"', teacher).replace('"rules"', '"lab:Picky"')
    return tiny(folder, f"{text}\n[prices.models.m]\nprompt = 10.0\ncompletion = 50.0")


def test_a_sample_is_multiplied_by_the_rows_that_it_lacks(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        recipe = served(tmp_path, server)
        report = build(recipe.limited(3), tmp_path / "sample", tmp_path / "work")
    (spent,) = report.spent
    # Nobody is asked: the server is gone.
    expected = extrapolate(recipe, tmp_path / "sample")
    assert expected.rows == 9
    (cost,) = expected.costs
    assert (cost.stage, cost.model, cost.requests) == ("teach", "m", 3 * spent.requests)
    assert (cost.prompt_tokens, cost.completion_tokens) == (300 * spent.requests, 60 * spent.requests)
    # How long answers were waited for says nothing about a GPU.
    assert cost.seconds == 0
    assert cost.usd == pytest.approx(3 * spent.usd) == pytest.approx(0.006 * spent.requests)


def test_a_sample_of_another_recipe_is_refused(tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "sample", tmp_path / "work")
    other = tiny(tmp_path, tiny_text().replace('"tiny"', '"other"').replace("size = 64", "size = 65"))
    with pytest.raises(UsageError, match="sample was built from another recipe: name, render differ; sample this one"):
        extrapolate(other, tmp_path / "sample")


def test_a_sample_with_other_quotas_limits_or_another_seed_will_do(tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "sample", tmp_path / "work")
    larger = tiny_text().replace('"Cybercrimes" = 2', '"Cybercrimes" = 20').replace("seed = 11", "seed = 12")
    assert extrapolate(tiny(tmp_path, f"{larger}\n[limits]\nmax_rounds = 9\n"), tmp_path / "sample").rows == 27


def test_a_sample_without_harmful_rows_is_refused(tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "sample", tmp_path / "work")
    manifest = tmp_path / "sample" / "manifest.json"
    data = json.loads(manifest.read_text("utf-8"))
    data["quotas"] = [{**quota, "got": 0} for quota in data["quotas"]]
    manifest.write_text(json.dumps(data), "utf-8")
    with pytest.raises(UsageError, match="has no harmful rows; build a larger sample"):
        extrapolate(tiny(tmp_path), tmp_path / "sample")


def test_a_sample_that_is_no_dataset_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="give the directory that `mis build` wrote"):
        extrapolate(tiny(tmp_path), tmp_path / "nowhere")
