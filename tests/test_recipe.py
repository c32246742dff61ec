import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_dataset.budget import Limits, Prices, TokenPrice
from mis_dataset.errors import RecipeError
from mis_dataset.recipe import Rates, load_recipe, recipe_schema, spread
from mis_dataset.resources import resource
from mis_dataset.taxonomy import taxonomy

MINIMAL = """
name = "tiny"
seed = 1
[quotas]
hard = 14
[compose]
backend = "grammar"
[render]
backend = "pictogram"
[teach]
backend = "template"
[[screen]]
backend = "rules"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(folder, text))
    return caught.value.problems


# How to fine-tune is another kind of recipe.
SHIPPED = sorted(path.name for path in resource("builder_scripts").glob("*.toml") if "finetune" not in path.name)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid(name: str):
    recipe = load_recipe(resource("builder_scripts", name))
    assert recipe.name == name.removesuffix(".toml")


def test_defaults_come_from_the_schema(tmp_path: Path):
    recipe = load_recipe(written(tmp_path, MINIMAL))
    assert recipe.shard_size == recipe_schema()["properties"]["shard_size"]["default"]
    assert recipe.card.license == recipe_schema()["properties"]["card"]["properties"]["license"]["default"]
    assert recipe.split.on_shortfall == "report"
    assert set(recipe.quotas.values()) == {1}


def test_all_mistakes_are_reported_at_once_with_their_keys(tmp_path: Path):
    text = MINIMAL.replace("seed = 1", "seed = -1\nsede = 2").replace(
        '"pictogram"', '"pictogram"\nsize = 9000\nsise = 1'
    )
    text = text.replace("hard = 14", 'easy = "many"').replace('"rules"', '"rulez"')
    found = problems(tmp_path, text)
    for expected in (
        "sede: unknown key; did you mean 'seed'?",
        "seed: -1 is less than the minimum of 0",
        "quotas.easy: 'many' is neither a number of rows",
        "render.size: 9000 is greater than the maximum of 2048",
        "render.sise: unknown key; did you mean 'size'?",
        "screen[0].backend: there is no backend 'rulez'; Did you mean 'rules'?",
    ):
        assert any(expected in problem for problem in found), f"{expected!r} not in {found}"
    assert len(found) == 6


# Names of the Hub's own would be refused when the dataset is pushed, long after the work is done.
def test_what_the_hub_would_refuse_of_the_card_is_a_mistake(tmp_path: Path):
    card = r"""
[card]
pretty_name = "two\nlines"
license = "\u00a9"
languages = ["en", "english", "de\n", "DE"]
tags = ["fine", "not\u001bfine", " "]
"""
    found = problems(tmp_path, MINIMAL + card)
    wrong = ["languages[1]", "languages[2]", "languages[3]", "license", "pretty_name", "tags[1]", "tags[2]"]
    assert [problem.partition(":")[0] for problem in found] == [f"card.{key}" for key in wrong]
    assert found[0].startswith("card.languages[1]: 'english' does not fit; A code of ISO 639")


def test_a_card_may_have_a_licence_of_ones_own_and_any_language(tmp_path: Path):
    card = '[card]\nlicense = "My own, v1"\nlanguages = ["yue", "multilingual"]\ntags = ["a b"]\npretty_name = "Ü"\n'
    assert load_recipe(written(tmp_path, MINIMAL + card)).card.mistakes() == []


def test_an_unknown_sub_category_is_a_mistake(tmp_path: Path):
    found = problems(tmp_path, MINIMAL.replace("hard = 14", 'hard = { "Property Crime" = 3 }'))
    assert len(found) == 1
    assert "did you mean 'Property Crimes'?" in found[0]


def test_missing_tables_are_named(tmp_path: Path):
    found = problems(tmp_path, "name = 'x'\nseed = 1\n")
    assert {problem.split(":")[0] for problem in found} == {"quotas", "compose", "render", "teach", "screen"}


def test_a_missing_required_setting_of_a_backend_is_named(tmp_path: Path):
    found = problems(tmp_path, MINIMAL.replace('"pictogram"', '"diffusion"'))
    assert any("render.model: missing" in problem for problem in found)


@pytest.mark.parametrize(
    ("content", "message"), [(b"name = ", "not valid TOML"), (b"\xff\xfe", "cannot be read")], ids=["broken", "binary"]
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(RecipeError, match="there is no such recipe"):
        load_recipe(tmp_path / "none.toml")


def test_the_canonical_recipe_is_a_recipe_that_means_the_same(tmp_path: Path):
    recipe = load_recipe(resource("builder_scripts", "preview.toml"))
    again = load_recipe(written(tmp_path, recipe.canonical()))
    assert again.canonical() == recipe.canonical()
    assert again.quotas == recipe.quotas


def test_the_canonical_recipe_leaves_out_what_changes_no_output(tmp_path: Path):
    plain = load_recipe(written(tmp_path, MINIMAL))
    tuned = load_recipe(written(tmp_path, "shard_size = 3\n# a comment\n" + MINIMAL))
    assert tuned.shard_size == 3
    assert tuned.canonical() == plain.canonical()
    assert tomllib.loads(plain.canonical())["render"] == {"backend": "pictogram", "size": 512, "max_redraws": 2}


# Limits, prices, rates, photographs, benchmarks


def test_without_its_tables_a_recipe_has_four_rounds_and_no_other_limit_or_price(tmp_path: Path):
    recipe = load_recipe(written(tmp_path, MINIMAL))
    assert recipe.limits == Limits(max_rounds=4, max_usd=None, max_requests=None, max_gpu_seconds=None)
    assert recipe.prices == Prices(gpu_hour=None, models={})
    assert (recipe.real, recipe.benchmarks) == (None, ())


@pytest.mark.parametrize(("table", "spec"), [("limits", Limits), ("rates", Rates)])
def test_the_schema_and_the_code_have_the_same_defaults(table: str, spec: type):
    keys = recipe_schema()["properties"][table]["properties"]
    assert {key: keys[key].get("default") for key in keys} == asdict(spec())


def test_limits_prices_and_rates_are_read(tmp_path: Path):
    text = """
[limits]
max_rounds = 2
max_usd = 12.5
max_requests = 300
max_gpu_seconds = 60
[prices]
gpu_hour = 2.5
[prices.models."lab/model.v1"]
prompt = 1
completion = 4.5
[rates]
redraws = 0
"""
    recipe = load_recipe(written(tmp_path, MINIMAL + text))
    assert recipe.limits == Limits(2, 12.5, 300, 60)
    assert recipe.prices == Prices(2.5, {"lab/model.v1": TokenPrice(1, 4.5)})
    assert recipe.rates == Rates(redraws=0)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("[limits]\nmax_rounds = 0", "limits.max_rounds: 0 is less than the minimum of 1"),
        ("[limits]\nmax_usd = 0", "limits.max_usd: 0 is less than or equal to the minimum of 0"),
        ("[limits]\nmax_requests = 1.5", "limits.max_requests: 1.5 is not of the type integer"),
        ("[limits]\nmax_dollars = 3", "limits.max_dollars: unknown key"),
        ("[prices]\ngpu_hour = -1", "prices.gpu_hour: -1 is less than the minimum of 0"),
        ("[prices.models.m]\nprompt = 1", "prices.models.m.completion: missing"),
        ("[rates]\naccepted = 0", "rates.accepted: 0 is less than or equal to the minimum of 0"),
        ("[rates]\nimages_per_question = 5", "rates.images_per_question: 5 is greater than the maximum of 4"),
        (
            '[real]\nbackend = "photograph"',
            "real.backend: there is no backend 'photograph'; Did you mean 'photographs'?",
        ),
        ('[real]\nbackend = "photographs"\ncorpsu = "x"', "real.corpsu: unknown key; did you mean 'corpus'?"),
        ("[[decontaminate]]\nsorce = 'x'", "decontaminate[0].sorce: unknown key; did you mean 'source'?"),
    ],
)
def test_mistakes_in_the_optional_tables_are_named(tmp_path: Path, table: str, expected: str):
    found = problems(tmp_path, f"{MINIMAL}\n{table}")
    assert any(expected in problem for problem in found), found


def test_photographs_are_wanted_only_with_somebody_who_finds_them(tmp_path: Path):
    found = problems(tmp_path, MINIMAL.replace("hard = 14", "real = 14"))
    assert len(found) == 1
    assert found[0].startswith("real: missing; quotas.real wants photographs")


def test_the_canonical_recipe_leaves_out_money_and_keeps_what_decides_the_rows(tmp_path: Path):
    free = load_recipe(written(tmp_path, MINIMAL))
    text = "[limits]\nmax_usd = 1\nmax_requests = 1\nmax_gpu_seconds = 1\n[prices]\ngpu_hour = 1\n[rates]\nredraws = 1"
    assert load_recipe(written(tmp_path, f"{MINIMAL}\n{text}")).canonical() == free.canonical()
    # More rounds may bring more rows.
    more = load_recipe(written(tmp_path, f"{MINIMAL}\n[limits]\nmax_rounds = 5"))
    assert tomllib.loads(more.canonical()) == {**tomllib.loads(free.canonical()), "limits": {"max_rounds": 5}}


def test_the_canonical_recipe_keeps_photographs_and_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "benchmark.jsonl").write_text('{"question": "Why?"}\n')
    text = f"""
[real]
backend = "lab:Album"
[[decontaminate]]
source = "{tmp_path / "benchmark.jsonl"}"
text_columns = ["question"]
"""
    recipe = load_recipe(written(tmp_path, MINIMAL.replace("hard = 14", "hard = 14\nreal = 14") + text))
    # Where the benchmark lies on this machine is nobody's business.
    assert str(tmp_path) not in recipe.canonical()
    monkeypatch.chdir(tmp_path)
    again = load_recipe(written(tmp_path, recipe.canonical()))
    assert again.canonical() == recipe.canonical()
    assert again.quotas == recipe.quotas
    assert again.real == recipe.real
    # Every setting is spelt out, those that were named among them.
    assert again.benchmarks[0] == {**again.benchmarks[0], "source": "benchmark.jsonl", "text_columns": ["question"]}


def test_a_limit_keeps_the_proportions(tmp_path: Path):
    recipe = load_recipe(resource("builder_scripts", "preview.toml")).limited(18)
    assert sum(recipe.quotas.values()) == 18
    subsets = Counter(subset for subset, _ in recipe.quotas)
    assert subsets == {"train": 8, "easy": 4, "hard": 6}
    # Few rows still cover every sub-category.
    assert len({name for _, name in recipe.quotas}) == 14


@given(st.integers(0, 10_000), st.dictionaries(st.integers(), st.integers(1, 500), min_size=1))
def test_spreading_is_exact_and_fair(total: int, weights: dict[int, int]):
    shares = spread(total, weights)
    whole = sum(weights.values())
    assert sum(shares.values()) == total
    for key, weight in weights.items():
        assert abs(shares[key] - total * weight / whole) < 1


def test_the_schema_knows_every_sub_category():
    table = recipe_schema()["properties"]["quotas"]["properties"]["hard"]["oneOf"][1]
    assert table["propertyNames"]["enum"] == list(taxonomy().sub_categories)


def test_the_papers_recipe_has_the_papers_sizes():
    quotas = load_recipe(resource("builder_scripts", "paper.toml")).quotas
    sizes = Counter(dict.fromkeys(("train", "easy", "hard", "real"), 0))
    for (subset, _), rows in quotas.items():
        sizes[subset] += rows
    assert sizes == {"train": 3927, "easy": 1675, "hard": 510, "real": 100}
    for name, sub in taxonomy().sub_categories.items():
        assert quotas["easy", name] + quotas["hard", name] == sub.paper_rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MINIMAL + "[limits]\nmax_usd = 1\n", None),
        (
            MINIMAL.replace('"template"', '"openai_chat"\nbase_url = "http://x/v1"\nmodel = "m"')
            + "[limits]\nmax_usd = 1\n",
            "limits.max_usd: prices.models has no 'm'; name its prices, 0 if it costs nothing",
        ),
        (
            MINIMAL.replace('"pictogram"', '"diffusion"\nmodel = "a/b"\nrevision = "' + "0" * 40 + '"')
            + "[limits]\nmax_usd = 1\n",
            "limits.max_usd: prices.gpu_hour is missing; name it, 0 if it costs nothing",
        ),
        (
            MINIMAL + '[real]\nbackend = "photographs"\ncorpus = "x"\n',
            "real: quotas.real asks for no rows; set it, or leave [real] out",
        ),
        (
            MINIMAL.replace("hard = 14", 'hard = 14\nreal = { "Property Crimes" = 1 }')
            + '[real]\nbackend = "pictogram"\n',
            "real.backend: PictogramRenderer draws, but real wants photographs",
        ),
        (
            MINIMAL
            + 2 * '[[screen]]\nbackend = "openai_expert"\nbase_url = "http://x/v1"\nmodel = "m"\n'.replace("x", "y", 1),
            "screen[2].name: screen[1] is called 'm' too; give each a name of its own",
        ),
        (
            MINIMAL + '[decontaminate]\nsource = "x.jsonl"\n',
            "decontaminate: may stand several times; write [[decontaminate]] in place of [decontaminate]",
        ),
        (
            MINIMAL + '[[decontaminate]]\nsource = "nowhere/there"\ntext_columns = ["a"]\n',
            "decontaminate[0].source: nowhere/there",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, text: str, problem: str | None):
    if problem is None:
        load_recipe(written(tmp_path, text))
    else:
        assert any(found.startswith(problem) for found in problems(tmp_path, text)), problems(tmp_path, text)


def test_a_limited_recipe_without_photographs_wants_nobody_to_find_them():
    paper = load_recipe(resource("builder_scripts", "paper.toml"))
    assert paper.limited(14).real is None
    assert paper.limited(700).real is not None
