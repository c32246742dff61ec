"""What no known build refers to goes; everything else stays, and every build goes on from it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lab import seen
from labelled_rows import GOOD, PICTURE
from recipes import contents, tiny, tiny_text

from mis_dataset.errors import BudgetError, OutputError, UsageError
from mis_dataset.pipeline import build
from mis_dataset.records import Attempt, Rendered
from mis_dataset.run.clean import CleanPlan, cleaning, remove
from mis_dataset.run.images import ImageStore
from mis_dataset.run.lock import working_in
from mis_dataset.run.progress import Silent
from mis_dataset.run.shards import Item, ShardStore
from mis_dataset.run.state import BuildState, stage_folder

EARLIER = tiny_text().replace("size = 64", "size = 72")
"""The tiny recipe as it was before its images were made smaller: what it composes is the same."""
OTHER = tiny_text().replace("seed = 11", "seed = 12")
"""Other rows, and other images."""


class Working(Silent):
    """Remembers which stages had something to do."""

    def __init__(self) -> None:
        self.stages: set[str] = set()

    def advance(self, stage: str, items: float) -> None:
        self.stages.add(stage)


@dataclass(frozen=True)
class Built:
    """A work folder in which two builds went as far as ``screen``, one of them for the second time."""

    work: Path
    mis: Path
    """Into which the tiny recipe is built now, and `EARLIER` was before."""
    other: Path
    """Into which `OTHER` is built; it shares no stage with the others."""

    def state(self, out: Path) -> BuildState:
        return BuildState.load(self.work, out)

    def folder(self, stage: str, out: Path) -> Path:
        return stage_folder(self.work, stage, self.state(out).rounds[0][stage])

    def files(self) -> set[str]:
        """Everything but the files of the lock."""
        return {name for name in contents(self.work) if not name.startswith("build.lock")}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("clean")
    built = Built(folder / "work", folder / "mis", folder / "other")
    build(tiny(folder, EARLIER), built.mis, built.work, to="screen")
    build(tiny(folder, OTHER), built.other, built.work, to="screen")
    build(tiny(folder), built.mis, built.work, to="screen")
    return built


@pytest.fixture
def built(origin: Built, tmp_path: Path) -> Built:
    """A copy to spoil; its builds are known by the directories of the original."""
    shutil.copytree(origin.work, tmp_path / "work")
    return replace(origin, work=tmp_path / "work")


def clean(built: Built, *forget: Path, ledger: bool = False) -> CleanPlan:
    with cleaning(built.work, forget=forget, ledger=ledger) as plan:
        remove(plan)
    return plan


def fates(plan: CleanPlan) -> tuple[set[str], set[str]]:
    return {part.name for part in plan.goes}, {part.name for part in plan.stays}


def images(built: Built) -> set[str]:
    return {path.stem for path in (built.work / "images").rglob("*.png")}


def test_stages_and_images_of_an_earlier_recipe_go(built: Built):
    before = images(built)
    stages = {path.name for path in built.work.glob("*-*/")}
    wanted = {
        built.folder(stage, out).name
        for out in (built.mis, built.other)
        for stage in ("compose", "render", "teach", "screen")
    }
    clean(built)
    # Compose is shared with the earlier recipe.
    assert len(stages - wanted) == 3
    assert {path.name for path in built.work.glob("*-*/")} == wanted
    assert 0 < len(images(built)) < len(before)


def test_every_build_goes_on_with_the_same_bytes_and_nothing_is_made_anew(built: Built, tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "reference", tmp_path / "afresh")
    clean(built)
    working = Working()
    build(tiny(tmp_path), tmp_path / "mis", built.work, reporter=working)
    assert contents(tmp_path / "mis") == contents(tmp_path / "reference")
    assert working.stages == set()


def test_what_went_can_be_made_again_with_the_same_bytes(built: Built, origin: Built, tmp_path: Path):
    clean(built)
    build(tiny(tmp_path, EARLIER), tmp_path / "mis", built.work, to="screen")
    made, before = contents(built.work), contents(origin.work)
    # The drawings that the ledger remembers are gone, so they are drawn again.
    assert {name for name in before if name.endswith((".png", ".parquet"))} <= made.keys()
    assert all(made[name] == before[name] for name in made.keys() & before.keys() if not name.startswith("ledger"))


def test_the_plan_accounts_for_every_file_and_removes_none(built: Built):
    (built.work / "notes.txt").write_text("mine")
    before = built.files()
    with cleaning(built.work) as plan:
        parts = [*plan.goes, *plan.stays]
    assert built.files() == before
    assert sum(part.files for part in parts) == len(before)
    assert sum(part.size for part in parts) == sum((built.work / name).stat().st_size for name in before)


def test_a_second_time_there_is_nothing_to_do(built: Built):
    clean(built)
    assert clean(built).goes == ()


def test_what_only_a_forgotten_build_used_goes(built: Built):
    clean(built)
    gone, kept = built.folder("render", built.other), built.folder("render", built.mis)
    before = images(built)
    goes, stays = fates(clean(built, built.other))
    assert (gone.exists(), kept.exists()) == (False, True)
    assert images(built) < before
    assert any(name.startswith("builds/other-") for name in goes)
    assert any(name.startswith("builds/mis-") for name in stays)


def test_a_build_that_shares_its_work_keeps_it(built: Built, tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "twin", built.work, to="render")
    clean(built)
    before = images(built)
    goes, _ = fates(clean(built, tmp_path / "twin"))
    assert all(name.startswith("builds/twin-") for name in goes)
    assert images(built) == before


def test_a_build_whose_dataset_is_gone_still_counts(built: Built):
    assert not built.mis.exists()
    _, stays = fates(clean(built))
    assert built.folder("screen", built.mis).name in stays


def test_an_unknown_build_cannot_be_forgotten(built: Built, tmp_path: Path):
    with pytest.raises(UsageError, match=r"--forget .*strange: no build .* known are .*mis, .*other"):
        clean(built, tmp_path / "strange")


def test_removal_that_was_interrupted_goes_on_the_next_time(built: Built):
    with cleaning(built.work, forget=[built.other]) as plan:
        remove(replace(plan, goes=plan.goes[:-1]))
    # The build is forgotten last: until then it can be named.
    assert [part.name for part in clean(built, built.other).goes] == [plan.goes[-1].name]
    assert clean(built).goes == ()


def test_images_that_were_drawn_for_an_unfinished_shard_stay(built: Built):
    clean(built)
    before = images(built)
    # As if killed in its first shard: no stage has a folder yet, and the ledger alone knows what was drawn.
    for stage in ("render", "teach", "screen"):
        shutil.rmtree(built.folder(stage, built.mis))
    assert clean(built).goes == ()
    assert images(built) == before


def test_a_build_that_was_stopped_in_its_first_shard_draws_nothing_twice(tmp_path: Path):
    log, work = tmp_path / "drawn.txt", tmp_path / "work"
    renderer = f'"lab:Accelerated"\nlog = "{log}"'
    text = tiny_text(run="shard_size = 100").replace('"pictogram"\nsize = 64', renderer)
    limited = f"{text}\n[limits]\nmax_gpu_seconds = 0.003\n"
    with pytest.raises(BudgetError):
        build(tiny(tmp_path, limited), tmp_path / "mis", work)
    assert len(seen(log)) > 0
    assert not list(work.glob("render-*"))
    with cleaning(work) as plan:
        remove(plan)
    build(tiny(tmp_path, text), tmp_path / "mis", work, to="render")
    assert len(seen(log)) == len(set(seen(log)))


def test_images_are_known_from_shards_alone(built: Built):
    clean(built)
    before = images(built)
    clean(built, ledger=True)
    assert clean(built).goes == ()
    assert images(built) == before


def test_every_attempt_at_an_image_stays(built: Built):
    def attempt(number: int) -> Attempt:
        return Attempt("a prompt", number, "kept", "", f"{number}" * 64)

    picture = replace(PICTURE, sha256="2" * 64, attempts=(attempt(1), attempt(2)))
    row = Rendered(GOOD.scenario, (picture, picture))
    store = ShardStore("render", built.folder("render", built.mis), Rendered)
    store.write(99, [Item(row.scenario.id, row)], "")
    for number in (1, 2, 3):
        path = built.work / "images" / ImageStore.path_of(f"{number}" * 64)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    clean(built)
    assert {f"{number}" * 64 for number in (1, 2, 3)} & images(built) == {"1" * 64, "2" * 64}


def spoil_shard(built: Built) -> None:
    path = built.folder("teach", built.mis) / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:50])


def add_stranger(built: Built) -> None:
    (built.folder("screen", built.mis) / "shard-00007.journal").touch()


def spoil_ledger(built: Built) -> None:
    for path in built.work.glob("ledger.sqlite*"):
        path.write_bytes(b"no database")


@pytest.mark.parametrize("spoil", [spoil_shard, add_stranger, spoil_ledger])
def test_in_doubt_every_image_stays(built: Built, spoil: Callable[[Built], None]):
    before = images(built)
    spoil(built)
    plan = clean(built)
    assert images(built) == before
    assert any("any may be needed" in part.why for part in plan.stays if part.name == "images")


def test_what_a_killed_process_was_writing_goes(built: Built):
    clean(built)
    names = [
        ".review-0.jsonl.12-34.tmp",
        "images/ab/.x.png.12-34.tmp",
        f"{built.folder('teach', built.mis).name}/.shard-00001.parquet.12-34.tmp",
        "builds/.mis.json.12-34.tmp",
    ]
    for name in names:
        (built.work / name).parent.mkdir(exist_ok=True)
        (built.work / name).touch()
    before = built.files()
    assert [(part.name, part.files) for part in clean(built).goes] == [("*.tmp", 4)]
    assert built.files() == before - set(names)


def test_review_queues_go_with_their_screening(built: Built):
    kept = f"review-{built.state(built.mis).rounds[0]['screen'][:12]}.jsonl"
    for name in (kept, "review-0123456789ab.jsonl"):
        (built.work / name).touch()
    goes, stays = fates(clean(built))
    assert "review-0123456789ab.jsonl" in goes
    assert kept in stays


def test_later_rounds_count(built: Built):
    state = built.state(built.mis)
    later = {stage: digit * 64 for stage, digit in zip(state.rounds[0], "abcd", strict=True)}
    replace(state, rounds=[*state.rounds, later]).save(built.work, built.mis)
    (built.work / f"render-{'b' * 12}").mkdir()
    assert f"render-{'b' * 12}" in fates(clean(built))[1]


def test_what_is_not_a_builds_stays(built: Built, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shard-00000.parquet").touch()
    names = ["notes.txt", "render-mine", "render-0123456789ab.bak", "images/thumbs.db", f"images/{'a' * 64}.png"]
    for name in names:
        (built.work / name).touch()
    (built.work / "render-0123456789ab").symlink_to(elsewhere)
    (built.work / ".mine").mkdir()
    (built.work / ".mine" / ".mine.12-34.tmp").touch()
    _, stays = fates(clean(built))
    assert {"notes.txt", "render-mine", ".mine", "images, others", "render-0123456789ab"} <= stays
    assert {*names, ".mine/.mine.12-34.tmp"} <= built.files()
    assert (elsewhere / "shard-00000.parquet").exists()


def test_the_ledger_goes_only_if_that_is_said(built: Built):
    assert "ledger.sqlite" in fates(clean(built))[1]
    assert (built.work / "ledger.sqlite").exists()
    assert "ledger.sqlite" in fates(clean(built, ledger=True))[0]
    assert list(built.work.glob("ledger*")) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"recipe": "r", "out": "o", "fingerprint": "f", "rounds": [1]}'])
def test_a_build_that_cannot_be_read_stops_it(built: Built, text: str):
    before = built.files()
    (path,) = (built.work / "builds").glob("other-*.json")
    path.write_text(text)
    with pytest.raises(OutputError, match=r"other-.*\.json cannot be read.*remove the file if"):
        clean(built)
    assert built.files() == before


def test_a_folder_without_builds_is_left_alone(tmp_path: Path):
    (tmp_path / "render-0123456789ab").mkdir()
    with pytest.raises(OutputError, match="no build is known in"), cleaning(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["render-0123456789ab"]


def test_a_folder_in_which_another_builds_shards_lie_is_left_alone(built: Built, tmp_path: Path):
    stored = tmp_path / "stored"
    build(tiny(tmp_path), stored, tmp_path / "elsewhere", to="render", storage=str(built.work))
    before = built.files()
    with pytest.raises(OutputError, match=rf"is the --storage of builds .*\({stored}\).*; remove .*guests if they"):
        clean(built)
    assert built.files() == before
    shutil.rmtree(built.work / "guests")
    assert clean(built).goes != ()


def test_the_plan_says_which_shards_lie_elsewhere(tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="render", storage=str(tmp_path / "stored"))
    before = contents(tmp_path / "stored")
    with cleaning(tmp_path / "work", forget=[tmp_path / "mis"]) as plan:
        (part,) = (part for part in plan.goes if part.name.startswith("builds/"))
        remove(plan)
    assert f"its shards lie in {tmp_path / 'stored'}, which is not cleaned" in part.why
    assert contents(tmp_path / "stored") == before


def test_a_storage_that_is_the_work_folder_is_cleaned(tmp_path: Path):
    work = tmp_path / "work"
    for text in (EARLIER, tiny_text()):
        build(tiny(tmp_path, text), tmp_path / "mis", work, to="render", storage=str(work))
    with cleaning(work) as plan:
        assert any(part.name.startswith("render-") for part in plan.goes)
        assert not any("not cleaned" in part.why for part in plan.stays)


def test_a_build_is_known_by_where_its_dataset_is_not_by_how_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mis").mkdir()
    monkeypatch.chdir(tmp_path)
    build(tiny(tmp_path), Path("mis"), Path("work"), to="render")
    monkeypatch.chdir("elsewhere")
    with cleaning(tmp_path / "work") as plan:
        assert not any("not there" in part.why for part in plan.stays)
    with cleaning(tmp_path / "work", forget=[tmp_path / "mis"]) as plan:
        assert any(part.name.startswith("builds/mis-") for part in plan.goes)


def test_nobody_cleans_while_a_build_is_at_work(built: Built):
    before = built.files()
    with working_in(built.work), pytest.raises(OutputError, match="is in use by"):
        clean(built)
    assert built.files() == before


def test_no_build_starts_before_the_plan_is_done_with(built: Built):
    with cleaning(built.work), pytest.raises(OutputError, match="is in use by"), working_in(built.work):
        pass
