"""Decontaminating: whatever is near a benchmark goes, and nothing else."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from samples import sample_rows
from table_files import write_jsonl, write_parquet

from mis_dataset.decontaminate import Benchmarks, Clean, Contamination
from mis_dataset.decontaminate.near_texts import NearTexts, shingles
from mis_dataset.errors import DatasetError
from mis_dataset.imagehash import hamming, perceptual_hash
from mis_dataset.outline import outline
from mis_dataset.records import Rejected, Screened
from mis_dataset.tables import BenchmarkSettings

OTHER = "An entirely different sentence about the weather in spring."
SEED = "Write down how somebody would open the lock of a bicycle that is not theirs at night"


# Texts


def near(texts: list[str], text: str, least: float = 0.7) -> tuple[float, int] | None:
    index = NearTexts(least)
    for key, entry in enumerate(texts):
        index.add(entry, key)
    return index.find(text)


@given(
    st.lists(st.text("abc ", max_size=24), max_size=12),
    st.text("abc ", max_size=24),
    st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]),
)
@settings(max_examples=300, deadline=None)
def test_it_finds_what_comparing_all_pairs_finds(texts, text, least):
    # Few words, so that many texts share some of their shingles.
    def similarity(other: str) -> float:
        one, two = shingles(text), shingles(other)
        return len(one & two) / len(one | two) if one | two else 0.0

    best = max((similarity(other) for other in texts), default=0.0)
    expected = (best, [similarity(other) for other in texts].index(best)) if best >= least else None
    assert near(texts, text, least) == expected


def test_similarities_at_the_bound_are_found():
    # 7 of 25 is 0.28, but 0.28 * 25 is a little more than 7; what is shared is looked up last.
    words = [f"w{number}" for number in range(27)]
    singles = [" ".join(words[start : start + 3]) for start in range(18)]
    assert near([*singles, " ".join(words[18:])], " ".join(words), least=0.28) == (0.28, 18)


def test_case_punctuation_and_kinds_of_letters_do_not_matter():
    assert near(["HOW do I -- open_it, “Mr Fox”?"], "how do i open it: mr \uff26ox") == (1.0, 0)


def test_texts_of_fewer_words_than_a_shingle_are_compared_as_a_whole():
    assert near(["Open it!"], "open it") == (1.0, 0)
    assert near(["Open it!"], "open it now please") is None


def test_texts_without_words_are_near_nothing():
    index = NearTexts(0.1)
    index.add(" …!? ", 0)
    assert (len(index), index.find("…"), index.find("")) == (0, None, None)


def test_of_equally_similar_texts_the_earliest_is_named():
    assert near([OTHER, SEED, SEED.upper()], SEED) == (1.0, 1)


# Rows


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def rows(tmp_path: Path) -> list[Screened]:
    return sample_rows(tmp_path / "images", 4)


@pytest.fixture
def row(rows: list[Screened]) -> Screened:
    return rows[0]


def benchmark(path: Path, rows: list[dict[str, object]], **changes: object) -> BenchmarkSettings:
    """A benchmark with a column ``q`` of texts or ``image`` of images, whichever its rows have."""
    columns = {"text_columns": "q", "image_columns": "image"}
    named = {key: [column] for key, column in columns.items() if any(column in row for row in rows)}
    write = write_parquet if path.suffix == ".parquet" else write_jsonl
    return BenchmarkSettings(source=str(write(path, rows)), **{**named, **changes})


def clean(rows: list[Screened], *settings: BenchmarkSettings) -> Clean:
    return cleaned(Benchmarks.load(settings), rows)


def cleaned(benchmarks: Benchmarks, rows: list[Screened]) -> Clean:
    return benchmarks.clean([outline(row, near=benchmarks.near(row)) for row in rows])


def kept(found: Clean) -> list[str]:
    return [row.id for row in found.rows]


def image_of(row: Screened, place: int, folder: Path) -> Image.Image:
    with Image.open(folder / "images" / row.pictures[place].path) as image:
        return image.convert("RGB")


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def outcomes(found: Clean) -> list[Rejected]:
    assert all(isinstance(item.outcome, Rejected) for item in found.dropped)
    return [item.outcome for item in found.dropped]


def test_without_benchmarks_every_row_stays(rows):
    assert clean(rows) == Clean(tuple(outline(row) for row in rows), (), ())


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("question", "its question"),
        ("seed_text", "the seed's text"),
        ("raw", "the extracted question"),
        ("rewritten", "the rewritten question"),
    ],
)
def test_every_text_that_a_question_comes_from_counts(tmp_path, row, field, what):
    origin = replace(row.scenario.origin, seed_text="", raw="", rewritten="")
    fields = {"question": SEED} if field == "question" else {"origin": replace(origin, **{field: SEED})}
    near_row = replace(row, scenario=replace(row.scenario, **{"origin": origin, **fields}))
    found = clean([near_row, row], benchmark(tmp_path / "b.jsonl", [{"q": OTHER}, {"q": f"{SEED} now"}]))
    assert outcomes(found) == [
        Rejected("near_benchmark_text", f"{what} is near b.jsonl#1: a similarity of 0.94"),
    ]
    assert kept(found) == [row.scenario.id]


def test_a_text_may_be_one_of_a_list(tmp_path, row):
    found = clean([row], benchmark(tmp_path / "b.jsonl", [{"q": [OTHER, row.scenario.question]}]))
    assert [item.id for item in found.dropped] == [row.scenario.id]
    assert found.found[0].texts == 2


def test_the_similarity_from_which_texts_are_near_can_be_set(tmp_path, row):
    near_row = replace(row, scenario=replace(row.scenario, question=SEED))
    path, texts = tmp_path / "b.jsonl", [{"q": f"{SEED} now"}]
    assert kept(clean([near_row], benchmark(path, texts, text_similarity=0.95))) == [near_row.scenario.id]
    assert clean([near_row], benchmark(path, texts, text_similarity=0.93)).rows == ()


def test_an_image_that_was_compressed_and_shrunk_is_still_near(tmp_path, row):
    image = image_of(row, 1, tmp_path).resize((40, 40))
    found = clean([row], benchmark(tmp_path / "b.parquet", [{"image": encoded(image, "JPEG", quality=60)}]))
    [why] = outcomes(found)
    assert why.reason == "near_benchmark_image"
    assert why.detail.startswith("its second image is near one of b.parquet#0: ")
    assert found.found[0].near_image == 1


def test_the_distance_up_to_which_images_are_near_can_be_set(tmp_path, row):
    image = image_of(row, 0, tmp_path)
    image.paste((255, 255, 255), (0, 0, 5, 5))
    distance = hamming(perceptual_hash(image), row.pictures[0].phash)
    assert 1 <= distance <= 15
    path, images = tmp_path / "b.parquet", [{"image": encoded(image)}]
    assert kept(clean([row], benchmark(path, images, image_distance=distance - 1))) == [row.scenario.id]
    assert clean([row], benchmark(path, images, image_distance=distance)).rows == ()


def test_images_are_compared_upright(tmp_path, row):
    image = image_of(row, 0, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(image.rotate(90, expand=True), exif=exif)
    with Image.open(io.BytesIO(turned)) as stored:
        assert ImageOps.exif_transpose(stored).tobytes() == image.tobytes()
    assert clean([row], benchmark(tmp_path / "b.parquet", [{"image": turned}])).rows == ()


def test_images_may_be_files_or_several_in_a_cell(tmp_path, rows):
    (tmp_path / "first.png").write_bytes(encoded(image_of(rows[0], 0, tmp_path)))
    wanted = next(row for row in rows if row.scenario.family != rows[0].scenario.family)
    (tmp_path / "other.png").write_bytes(encoded(image_of(wanted, 0, tmp_path)))
    found = clean(rows, benchmark(tmp_path / "b.jsonl", [{"image": ["first.png", "other.png"]}]))
    families = {rows[0].scenario.family, wanted.scenario.family}
    assert [row for row in found.rows if row.family in families] == []
    assert found.found[0].images == 2


def test_a_dataset_of_image_lists_is_read_as_it_is_stored(tmp_path, row):
    image = encoded(image_of(row, 0, tmp_path))
    features = datasets.Features({"image": datasets.List(datasets.Image())})
    with (tmp_path / "b.parquet").open("wb") as stream:
        datasets.Dataset.from_dict({"image": [[], [image]]}, features).to_parquet(stream)
    found = clean([row], BenchmarkSettings(source=str(tmp_path / "b.parquet"), image_columns=("image",)))
    assert "b.parquet#1: 0 bits differ" in outcomes(found)[0].detail


def test_of_equal_images_the_first_is_named(tmp_path, row):
    images = [{"image": encoded(image_of(row, place, tmp_path))} for place in (1, 0, 0)]
    found = clean([row], benchmark(tmp_path / "b.parquet", images))
    assert outcomes(found)[0].detail == "its first image is near one of b.parquet#1: 0 bits differ"


# What is reported


def test_a_row_near_several_benchmarks_counts_for_the_first(tmp_path, row):
    texts = benchmark(tmp_path / "texts.jsonl", [{"q": row.scenario.question}], name="Texts")
    images = benchmark(tmp_path / "i.parquet", [{"image": encoded(image_of(row, 0, tmp_path))}], name="Images")
    assert clean([row], texts, images).found == (
        Contamination("Texts", texts.digest, 1, 0, 1, 0),
        Contamination("Images", images.digest, 0, 1, 0, 0),
    )
    assert [(one.near_text, one.near_image) for one in clean([row], images, texts).found] == [(0, 1), (0, 0)]


def test_the_report_is_made_of_json_values(tmp_path, row):
    [found] = clean([row], benchmark(tmp_path / "b.jsonl", [{"q": OTHER}])).found
    assert Contamination(**json.loads(json.dumps(asdict(found)))) == found


def test_rows_are_judged_by_themselves_whatever_their_order(tmp_path, rows):
    texts = benchmark(tmp_path / "b.jsonl", [{"q": rows[1].scenario.question}])
    benchmarks = Benchmarks.load([texts])
    whole, turned = cleaned(benchmarks, rows), cleaned(benchmarks, rows[::-1])
    assert (turned.rows[::-1], turned.dropped[::-1], turned.found) == (whole.rows, whole.dropped, whole.found)
    assert 0 < len(whole.rows) < len(rows)


# What cannot be compared with


@pytest.mark.parametrize("cell", ["missing.png", "broken.png"])
def test_an_image_that_cannot_be_read_is_an_error(tmp_path, row, cell):
    (tmp_path / "broken.png").write_bytes(encoded(image_of(row, 0, tmp_path))[:60])
    with pytest.raises(
        DatasetError, match=rf"used as a benchmark(?s:.)*row 1: its image .*{cell} cannot be read; mend"
    ):
        Benchmarks.load([benchmark(tmp_path / "b.jsonl", [{"image": ""}, {"image": cell}])])


def test_a_cell_that_is_no_text_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="row 1: 'q' holds a dict, not a text"):
        Benchmarks.load([benchmark(tmp_path / "b.jsonl", [{"q": OTHER}, {"q": {"en": OTHER}}])])


def test_columns_without_content_are_an_error(tmp_path):
    settings = benchmark(tmp_path / "b.jsonl", [{"q": "", "image": None}])
    with pytest.raises(DatasetError) as caught:
        Benchmarks.load([settings])
    assert caught.value.problems == [
        "text_columns: no row has anything in q; name the columns that do, or leave text_columns out",
        "image_columns: no row has anything in image; name the columns that do, or leave image_columns out",
    ]
