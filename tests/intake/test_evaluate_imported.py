"""A whole evaluation of an imported dataset, with a served model and the offline judge."""

from asking import INSPECT_WARNS, answerer, inspect_inside, judged_safe, serving
from official_files import OfficialFiles

from mis_dataset.evaluate.run import evaluate
from mis_dataset.intake import import_dataset

pytestmark = list(INSPECT_WARNS)


def test_all_its_test_rows_are_scored(tmp_path, monkeypatch):
    official = OfficialFiles(tmp_path / "MIS").write()
    import_dataset("legacy", official.root, tmp_path / "imported")
    with inspect_inside(monkeypatch, tmp_path), serving(judged_safe()) as server:
        found = evaluate(answerer(server), tmp_path / "out", data=str(tmp_path / "imported"), judges=("offline",))
    assert len(found.rows) == 9
    # Nobody said what the images show, so no refusal counts as naming it.
    assert {row.outcome for row in found.rows} == {"refused"}
