"""Arrow types, card features and checks all follow from the JSON Schemas."""

import pyarrow as pa
import pytest
from datasets import Features, Image, List

from mis_dataset.schema import arrow_schema, checker, load_schema, yaml_features


@pytest.mark.parametrize("name", ["row", "provenance"])
def test_columns_are_the_schemas_properties_in_its_order(name):
    assert arrow_schema(name).names == list(load_schema(name)["properties"])


def test_an_image_is_a_struct_of_bytes_and_path():
    images = arrow_schema("row").field("images").type
    assert images.value_type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])


# The card and the Parquet files are written apart from each other; they must describe the same types.
@pytest.mark.parametrize("name", ["row", "provenance"])
def test_the_cards_features_are_those_of_the_arrow_schema(name):
    from_card = Features._from_yaml_list(yaml_features(name))
    from_arrow = Features.from_arrow_schema(arrow_schema(name))
    if name == "row":
        assert from_card.pop("images") == List(Image())
        from_arrow.pop("images")
    assert from_card == from_arrow


def test_no_list_of_structs_is_called_a_sequence():
    for feature in [*yaml_features("row"), *yaml_features("provenance")]:
        assert isinstance(feature.get("sequence", ""), str)


def test_a_checker_lists_every_mistake_with_its_path():
    check = checker(load_schema("provenance"))
    entry = {"id": "mis-1", "recipe": 3, "images": [{"seed": -1}, {}], "verdicts": [{"verdict": "maybe"}]}
    problems = "\n".join(check(entry))
    for path in ("id: ", "recipe: ", "images[0].seed: ", "images[1]: ", "verdicts[0].verdict: "):
        assert f"\n{path}" in f"\n{problems}"
    assert "'teacher' is a required property" in problems


def test_a_checker_takes_bytes_for_encoded_images_and_null_only_where_allowed():
    properties = load_schema("row")["properties"]
    check = checker(
        {"type": "object", "properties": {key: properties[key] for key in ("images", "twin_id", "question")}}
    )
    image = {"bytes": b"\x89PNG", "path": "one.png"}
    assert check({"images": [image, image], "twin_id": None, "question": "What?"}) == []
    assert check({"images": [image, {**image, "bytes": None}], "twin_id": None, "question": None}) == [
        "images[1].bytes: None is not of type 'string'",
        "question: None is not of type 'string'",
    ]


def test_a_long_value_does_not_drown_the_message():
    (problem,) = checker({"type": "object", "properties": {"id": {"pattern": "^x"}}})({"id": "y" * 10_000})
    assert len(problem) < 250
