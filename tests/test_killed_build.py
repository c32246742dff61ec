"""Builds that are killed at random moments: nothing is lost, next to nothing done twice, and the bytes are the same."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chat_server import ChatServer
from durable import CONCURRENCY, durable_text, repeats, script
from killed import Ending, Killer, killing
from recipes import lasting, tiny

from mis_dataset.run import draw

KILLS = 25
STAGES = ("compose", "render", "teach", "screen", "split", "assemble")
AHEAD = draw._ENCODING_AHEAD
"""Drawn images that may wait for the encoders, besides the one that is being drawn."""

Moment = tuple[str, float]
"""When to kill: so many seconds after the build has come to a mark."""
Files = dict[str, tuple[int, int]]


def moments(whole: Ending, chance: random.Random) -> Iterator[Moment]:
    """Two while the first shards are composed, most while shards are made, some later; each does a part of the rest."""
    at = whole.marks
    spans = [
        ("begun", 2, at["composed"] - at["begun"]),
        ("composed", 6, (at["screened"] - at["composed"]) / 4),
        ("taught", 3, at["screened"] - at["taught"]),
        ("screened", 1, at["assembling"] - at["screened"]),
        ("assembling", 2, at["done"] - at["assembling"]),
    ]
    return ((mark, chance.uniform(0, longest)) for mark, times, longest in spans for _ in range(times))


def finished(work: Path, stage: str) -> Files:
    """The finished shards of a stage, with what tells one file from another."""
    files = {path.name: path.stat() for path in work.glob(f"{stage}-*/shard-*.parquet")}
    return {name: (file.st_ino, file.st_mtime_ns) for name, file in files.items()}


def hit(ending: Ending, out: Path, work: Path) -> set[str]:
    """The stages that were at work when a build was killed, by what it left on disk."""
    if out.with_name(f".{out.name}.partial").exists():
        return {"assemble"}
    if "screened" in ending.marks:
        return {"split"}
    pairs = itertools.pairwise(STAGES[:4])
    at_work = {stage for before, stage in pairs if finished(work, before).keys() - finished(work, stage).keys()}
    return at_work if list(work.glob("compose-*/plan.json")) else {"compose", *at_work}


def build_through(kills: Iterator[Moment], killer: Killer, recipe: Path, out: Path, work: Path) -> list[set[str]]:
    """Build to the end, killed again and again; gives what each kill hit."""
    hits, made = [], dict[str, Files]()
    for mark, after_s in kills:
        ending = killer.build(recipe, out, work, mark, after_s)
        assert not ending.error
        if not ending.was_killed:
            return hits
        hits.append(hit(ending, out, work))
        earlier, made = made, {stage: finished(work, stage) for stage in STAGES[1:4]}
        # A shard that is there stays.
        assert all(files.items() <= made[stage].items() for stage, files in earlier.items())
    ending = killer.build(recipe, out, work)
    assert not ending.error
    return hits


def test_a_build_that_is_killed_at_any_moment_repeats_next_to_nothing(tmp_path: Path):
    chance, log, kills, hits = random.Random(7), tmp_path / "drawn.log", 0, Counter[str]()
    with ChatServer(script) as server, killing() as killer:
        tiny(tmp_path, durable_text(server.base_url, log))
        recipe = tmp_path / "recipe.toml"
        whole = killer.build(recipe, tmp_path / "whole", tmp_path / "whole_work")
        expected = lasting(tmp_path / "whole")
        while kills < KILLS or hits.keys() < set(STAGES):
            assert kills < 4 * KILLS, f"{kills} kills hit {dict(hits)}"
            folder, asked = tmp_path / f"after {kills} kills", len(server.calls)
            log.unlink()
            struck = build_through(moments(whole, chance), killer, recipe, folder / "mis", folder / "work")
            found = repeats(log, server.calls[asked:])
            times = Counter(stage for stages in struck for stage in stages)
            # What was on the way: the image in the making with those that wait for the encoders, requests in flight.
            assert found.drawings <= times["render"] * (1 + AHEAD)
            assert found.labels <= times["teach"] * CONCURRENCY
            assert found.verdicts <= times["screen"] * CONCURRENCY
            assert lasting(folder / "mis") == expected
            kills += len(struck)
            hits += times
    print(f"{kills} kills hit {dict(hits)}")
