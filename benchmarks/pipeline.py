"""What the toolkit adds to the work of its backends: overhead, overlap, resuming, two Ray workers for one.

Stub backends sleep, as real ones wait for a GPU or a server; everything else is the real thing.

python -m benchmarks.pipeline            about twelve minutes
python -m benchmarks.pipeline --quick    about two; fixed costs weigh more
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.stubs import SleepyRenderer
from benchmarks.table import Measured, argument_parser, markdown
from mis_dataset.ledger import Ledger
from mis_dataset.pipeline import build
from mis_dataset.recipe import load_recipe
from mis_dataset.records import ImageSpec, Origin, Picture, Rendered, Scenario
from mis_dataset.render import DrawOrder
from mis_dataset.run.draw import Tick
from mis_dataset.run.images import ImageStore
from mis_dataset.run.line import Line
from mis_dataset.run.local import EngineKind, LocalEngine, local_engine
from mis_dataset.run.progress import Silent
from mis_dataset.run.ray_engine import RaySettings, ray_engine
from mis_dataset.run.shards import Item, ShardStore
from mis_dataset.run.stage import Stage
from mis_dataset.run.state import stage_folder
from mis_dataset.run.workbench import Workbench
from mis_dataset.seeds import stable_digest

_RECIPE = """
name = "bench"
seed = 3
shard_size = {shard_size}
[quotas]
train = {{ "Property Crimes" = {rows} }}
[compose]
backend = "grammar"
oversample = 1.0
[render]
backend = "benchmarks.stubs:SleepyRenderer"
seconds = {draw_s}
[teach]
backend = "benchmarks.stubs:SleepyTeacher"
seconds = {label_s}
[[screen]]
backend = "rules"
[split]
max_same_question = 1000
image_distance = 0
[limits]
max_rounds = 1
"""
_SHARD = 256


def measure(repeats: int = 5, quick: bool = False) -> list[Measured]:
    """All rows of this file."""
    return [overhead(repeats, quick), overlap(repeats, quick), resume(repeats, quick), two_workers(repeats, quick)]


def overhead(repeats: int, quick: bool) -> Measured:
    """A whole build against a bare loop over the same drawings with the same renderer."""
    ratios = []
    for _ in range(repeats):
        images, _, built = _built(rows=20 if quick else 200, draw_s=0.05)
        begun = time.perf_counter()
        orders = [DrawOrder("thing", "a thing", number) for number in range(images)]
        drawn = sum(1 for _ in SleepyRenderer(seconds=0.05).render(orders))
        ratios.append(built / (time.perf_counter() - begun))
    return Measured("toolkit overhead: build ÷ bare loop", statistics.median(ratios), 1.03, remark=f"{drawn} images")


def overlap(repeats: int, quick: bool) -> Measured:
    """A whole build against the longer of its two slow stages, by what they slept."""
    ratios = []
    for _ in range(repeats):
        images, labels, built = _built(rows=20 if quick else 100, draw_s=0.1, label_s=0.1, shard_size=4)
        ratios.append(built / (0.1 * max(images, labels)))
    remark = f"{images} images, {labels} labels"
    return Measured("overlap: build ÷ longest stage", statistics.median(ratios), 1.10, remark=remark)


def two_workers(repeats: int, quick: bool) -> Measured:
    """One Ray worker against two, from the first image to the last; the cluster starts before the clock."""
    import ray

    ratios = []
    ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="ERROR")
    try:
        for _ in range(repeats):
            seconds = []
            for count in (1, 2):
                engine = partial(ray_engine, RaySettings(renderers=count))
                *_, built = _built(rows=40 if quick else 200, draw_s=0.1, shard_size=4, engine=engine)
                seconds.append(built)
            ratios.append(seconds[0] / seconds[1])
    finally:
        ray.shutdown()
    return Measured("two Ray workers ÷ one", statistics.median(ratios), 1.9, is_at_most=False)


def resume(repeats: int, quick: bool) -> Measured:
    """From the start of a build to its first new item, with so many done, against reading their shards as they are."""
    done = 5_000 if quick else 50_000
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        prints, images = {"compose": "c" * 64, "render": "d" * 64}, ImageStore(work / "images")
        _write_done(work, prints, images, done)
        ratios = []
        for _ in range(repeats):
            begun = time.perf_counter()
            for path in work.glob("*/shard-*.parquet"):
                with pq.ParquetFile(path) as file:
                    file.read()
            raw = time.perf_counter() - begun
            ratios.append(_until_new(work, prints, images) / raw)
    return Measured(f"resume: first new item after {done:,} ÷ reading them", statistics.median(ratios), 5)


class _FirstNewItem(Exception):  # noqa: N818 - it is what was waited for
    pass


def _until_new(work: Path, prints: dict[str, str], images: ImageStore) -> float:
    """Seconds until the render stage is asked for an item that is not done."""

    def render(_: Sequence[Scenario], __: Tick) -> Iterator[Item[Rendered]]:
        raise _FirstNewItem

    begun = time.perf_counter()
    bench = Workbench(work, prints, [Stage("render", Rendered, render, images.lacks)], Ledger(work / "l"), print)
    try:
        Line(bench, LocalEngine(Ledger(work / "l")), Silent()).run((), _SHARD)
    except _FirstNewItem:
        return time.perf_counter() - begun
    raise AssertionError("everything was done")


def _write_done(work: Path, prints: dict[str, str], images: ImageStore, done: int) -> None:
    """Shards of so many finished items, and one that is only composed."""
    composed, rendered = (
        ShardStore(stage, stage_folder(work, stage, prints[stage]), record)
        for stage, record in (("compose", Scenario), ("render", Rendered))
    )
    count = -(-done // _SHARD)
    for number in range(count + 1):
        rows = [_rendered(number * _SHARD + place) for place in range(_SHARD)]
        composed.write(number, [Item(row.scenario.id, row.scenario) for row in rows], "")
        if number < count:
            for picture in (picture for row in rows for picture in row.pictures):
                path = images.root / picture.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"a picture")
            rendered.write(number, [Item(row.scenario.id, row) for row in rows], composed.digest(number))
    (composed.folder / "plan.json").write_text(json.dumps({"shards": count + 1}))


def _rendered(number: int) -> Rendered:
    specs = tuple(ImageSpec(f"thing {number}-{place}", "a photo of a thing", harmful=False) for place in range(2))
    scenario = Scenario(
        id=f"mis-{number:016x}",
        family=f"mis-{number:016x}",
        twin_id=None,
        category="Illegal Activity",
        sub_category="Property Crimes",
        subset="hard",
        intent="harmful",
        relation="tool-target",
        question=f"What does the first image have to do with the second image, in case {number}?",
        images=specs,
        rationale="Nothing follows from this one.",
        reply="There is nothing to say.",
        origin=Origin("bench"),
    )
    return Rendered(scenario, tuple(_picture(number, place) for place in range(2)))


def _picture(number: int, place: int) -> Picture:
    digest = stable_digest(number, place)
    return Picture(
        path=ImageStore.path_of(digest),
        sha256=digest,
        phash=digest[:16],
        width=1024,
        height=1024,
        prompt="a photo of a thing",
        negative_prompt="",
        seed=number,
        attempt=0,
        model="bench",
        revision="1",
        steps=28,
        guidance=4.5,
        scheduler="bench",
        device="cuda",
        dtype="bfloat16",
        batch=8,
    )


def _built(
    *, rows: int, draw_s: float, label_s: float = 0.0, shard_size: int = 64, engine: EngineKind = local_engine
) -> tuple[int, int, float]:
    """Build from nothing; gives how many images and labels were made, and seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "recipe.toml"
        path.write_text(_RECIPE.format(rows=rows, draw_s=draw_s, label_s=label_s, shard_size=shard_size))
        recipe = load_recipe(path)
        begun = time.perf_counter()
        report = build(recipe, folder / "mis", folder / "work", engine=engine)
        seconds = time.perf_counter() - begun
        labels = next(step.count for step in report.funnel if step.stage == "teach")
        return len(list((folder / "work" / "images").rglob("*.png"))), labels, seconds


def main() -> None:
    """Measure and print."""
    parser = argument_parser("benchmarks.pipeline", __doc__)
    parser.add_argument("--quick", action="store_true", help="less work, medians of three")
    quick = parser.parse_args().quick
    print(markdown(measure(3 if quick else 5, quick)))


if __name__ == "__main__":
    main()
