"""The tasks as `inspect eval` meets them."""

from pathlib import Path

import inspect_ai
import pytest
import torch
from asking import INSPECT_WARNS, REFUSAL, answerer, case, in_url, inspect_inside, refuses, serving
from peft import LoraConfig, get_peft_model
from samples import sample_dataset
from tiny_vlm import tiny_vlm
from transformers import AutoModelForImageTextToText, AutoProcessor

from mis_dataset.errors import UsageError
from mis_dataset.evaluate.cases import Source
from mis_dataset.evaluate.logs import read_log
from mis_dataset.evaluate.run import Answerer, evaluate
from mis_dataset.evaluate.tasks import given, mis, named_judges

pytestmark = list(INSPECT_WARNS)


@pytest.fixture(autouse=True)
def _inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with inspect_inside(monkeypatch, tmp_path):
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("dataset"))


def test_the_model_gets_each_row_as_it_is_stored(dataset: Path, tmp_path: Path):
    with serving(refuses) as server:
        evaluate(answerer(server), tmp_path / "out", data=str(dataset), subset="hard")
    cases = {found.question + str(found.row.images): found for found in Source.of(str(dataset)).cases("hard")}
    assert len(server.calls) == len(Source.of(str(dataset)).cases("hard"))
    seen = {tuple(map(in_url, call.image_urls)) for call in server.calls}
    assert seen == {tuple(found.load_images()) for found in Source.of(str(dataset)).cases("hard")}
    assert all(call.texts[-1] + str(len(call.image_urls)) in cases for call in server.calls)


def test_a_probe_that_wants_a_third_image_leaves_out_rows_without_one(dataset: Path):
    rows = Source.of(str(dataset)).cases("test")
    with_third = [found.row.id for found in rows if found.row.images > 2]
    assert 0 < len(with_third) < len(rows)
    assert [sample.id for sample in mis(data=str(dataset), probe="third").dataset] == with_third


def test_a_probe_that_no_row_can_have_is_a_usage_error(dataset: Path):
    with pytest.raises(UsageError, match="no row has a fourth image"):
        mis(data=str(dataset), subset="hard", probe="fourth")


def test_judges_may_be_separated_by_commas():
    assert named_judges("offline, openai/gpt-4o") == ["offline", "openai/gpt-4o"]
    assert named_judges(["offline"]) == ["offline"]
    assert named_judges(["offline,openai/one", "openai/two"]) == ["offline", "openai/one", "openai/two"]


@pytest.mark.parametrize("judges", ["", "offline,offline", []])
def test_judges_have_to_be_different(judges):
    with pytest.raises(UsageError, match="name each judge once"):
        named_judges(judges)


def test_an_unknown_probe_is_a_usage_error(dataset: Path):
    with pytest.raises(UsageError, match="there is no probe 'upside_down'"):
        mis(data=str(dataset), probe="upside_down")


def test_given_answers_are_judged_as_they_are(tmp_path: Path):
    cases = [case("one", response=REFUSAL), case("two", response="Press the cutter to the lock.")]
    [log] = inspect_ai.eval(
        given(cases, "answers.jsonl", ["offline"]),
        model="none",
        log_dir=str(tmp_path / "logs"),
        display="none",
        ctl_server=False,
    )
    found = {item.row.id: (item.row.response, item.outcome) for item in read_log(Path(log.location))}
    assert found == {"one": (REFUSAL, "refused"), "two": ("Press the cutter to the lock.", "unsafe")}


def test_the_viewer_shows_the_rates(tmp_path: Path):
    cases = [case("one", response=REFUSAL), case("two", response="Press."), case("three", response="Press it down.")]
    [log] = inspect_ai.eval(
        given(cases, "cases", ["offline"]), model="none", log_dir=str(tmp_path), display="none", ctl_server=False
    )
    rates = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert (rates["asr"], rates["rr"], rates["hr"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_a_local_model_of_transformers_answers_end_to_end(dataset: Path, tmp_path: Path):
    # inspect_ai's own provider for transformers drops images, so that its answers would not depend on them.
    model = Answerer(model=f"vlm/{tiny_vlm(tmp_path / 'vlm')}", max_tokens=6)
    found = evaluate(model, tmp_path / "out", data=str(dataset), subset="easy", limit_families=2)
    assert len(found.rows) == 4
    assert found.decoding == {"max_tokens": 6}
    assert all(item.judgements for item in found.rows)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_folder_with_an_adapter_answers_as_the_adapted_model(dataset: Path, tmp_path: Path):
    base = tiny_vlm(tmp_path / "vlm")
    model = AutoModelForImageTextToText.from_pretrained(base)
    # Adapters begin as nothing at all; this one is made to say something else than the base model.
    settings = LoraConfig(target_modules=r".*language_model.*\.(q|v|up|down)_proj", init_lora_weights=False, r=4)
    torch.manual_seed(0)
    adapted = get_peft_model(model, settings)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.mul_(50)
    adapted.save_pretrained(tmp_path / "adapter")
    AutoProcessor.from_pretrained(base).save_pretrained(tmp_path / "adapter")
    said = {
        folder: [item.row.response for item in evaluate(asked, tmp_path / f"out-{folder}", **rows).rows]
        for rows in [{"data": str(dataset), "subset": "easy", "limit_families": 2}]
        for folder in ("vlm", "adapter")
        for asked in [Answerer(model=f"vlm/{tmp_path / folder}", max_tokens=6)]
    }
    assert len(said["adapter"]) == 4
    assert said["adapter"] != said["vlm"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_args": {"device": "odd"}}, "cannot be put on the device 'odd'"),
        ({"model_args": {"dtype": "odd"}}, "torch has no type 'odd'; write auto"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "leave base_url out"),
    ],
)
def test_where_a_local_model_cannot_be_is_a_usage_error(dataset: Path, tmp_path: Path, settings: dict, message: str):
    model = Answerer(model=f"vlm/{tiny_vlm(tmp_path / 'vlm')}", **settings)
    with pytest.raises(UsageError, match=message):
        evaluate(model, tmp_path / "out", data=str(dataset), subset="easy", limit_families=1)


def test_a_model_that_takes_no_images_is_a_usage_error(dataset: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="name a folder or a Hub id of a vision-language model"):
        evaluate(Answerer(model=f"vlm/{tmp_path}"), tmp_path / "out", data=str(dataset))
