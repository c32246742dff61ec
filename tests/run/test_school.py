"""Teaching with critics: a label that is turned down is written again with what they said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scenarios import scenario

from mis_dataset.records import Failed, Label, Labelled, Rejected, Rendered, Verdict
from mis_dataset.run.images import ImageStore
from mis_dataset.run.stages import School
from mis_dataset.teach import LabelRequest


@dataclass
class Pupil:
    """Answers with the number of critiques that it was shown; has nothing to say where it is told so."""

    stuck: dict[int, Rejected | Failed] = field(default_factory=dict)
    """What it says instead of a label, by the number of critiques."""
    seen: list[LabelRequest] = field(default_factory=list)
    rounds: int = 0

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label | Rejected | Failed]:
        self.rounds += 1
        for request in requests:
            self.seen.append(request)
            known = len(request.critiques)
            yield self.stuck.get(known) or Label((), "So.", f"Draft {known}.", "pupil", "1", "", 10, 1)


@dataclass
class Reader:
    """Turns down the drafts of some rows, each up to a number, in words that name the draft."""

    bad: dict[str, int] = field(default_factory=dict)
    """How many drafts are bad, by row."""
    verdict: str = "fail"
    name: str = "reader"
    seen: list[Labelled] = field(default_factory=list)

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        for row in rows:
            self.seen.append(row)
            number = int(row.label.answer.removeprefix("Draft ").removesuffix("."))
            if number < self.bad.get(row.scenario.id, 0):
                yield Verdict(self.name, self.verdict, "judge_not_useful", f"Draft {number} is dull.")
            else:
                yield Verdict(self.name, "pass", "", "")


ROWS = [Rendered(scenario(number), ()) for number in range(3)]
IDS = [row.scenario.id for row in ROWS]


@pytest.fixture
def school(tmp_path: Path):
    """Runs a class and gives what became of each row."""

    def run(pupil: Pupil, *readers: Reader, rewrites: int = 1, rows: Sequence[Rendered] = ROWS) -> list[object]:
        items = list(School(pupil, ImageStore(tmp_path), readers, rewrites).teach(rows, lambda _: None))
        assert [item.id for item in items] == [row.scenario.id for row in rows]
        return [item.outcome for item in items]

    return run


def answers(outcomes: list[object]) -> list[str]:
    return [row.label.answer for row in outcomes if isinstance(row, Labelled)]


def test_without_critics_every_label_is_written_once_and_kept(school):
    pupil = Pupil()
    assert answers(school(pupil, rewrites=3)) == ["Draft 0."] * 3
    assert pupil.rounds == 1


def test_a_label_that_pleases_is_kept_without_critiques(school):
    pupil, reader = Pupil(), Reader()
    outcomes = school(pupil, reader)
    assert [row.label.critiques for row in outcomes] == [()] * 3
    assert (pupil.rounds, len(reader.seen)) == (1, 3)


def test_a_label_that_is_turned_down_is_written_again_with_the_critique(school):
    pupil = Pupil()
    outcomes = school(pupil, Reader({IDS[1]: 1}))
    assert answers(outcomes) == ["Draft 0.", "Draft 1.", "Draft 0."]
    again = pupil.seen[3:]
    assert [(request.scenario.id, request.critiques) for request in again] == [(IDS[1], ("reader: Draft 0 is dull.",))]


def test_critiques_stay_with_the_label(school):
    _, rewritten, _ = school(Pupil(), Reader({IDS[1]: 2}), rewrites=2)
    assert rewritten.label.critiques == ("reader: Draft 0 is dull.", "reader: Draft 1 is dull.")


@pytest.mark.parametrize("rewrites", [0, 1, 3])
def test_a_label_that_stays_bad_is_rejected_with_the_last_critique(school, rewrites):
    pupil = Pupil()
    (outcome,) = school(pupil, Reader({IDS[0]: 99}), rewrites=rewrites, rows=ROWS[:1])
    assert outcome == Rejected("judge_not_useful", f"reader: Draft {rewrites} is dull.")
    assert len(pupil.seen) == rewrites + 1


# Nobody knows whether the label is bad, so there is nothing to mend.
def test_a_label_that_cannot_be_judged_fails_and_is_not_written_again(school):
    pupil = Pupil()
    outcomes = school(pupil, Reader({IDS[0]: 1}, "cannot_judge"), rewrites=3)
    assert outcomes[0] == Failed("judge_not_useful", "reader: Draft 0 is dull.")
    assert len(pupil.seen) == 3


def test_a_rewrite_that_cannot_be_judged_fails(school):
    strict, puzzled = Reader({IDS[0]: 1}), Reader({IDS[0]: 2}, "cannot_judge", "puzzled")
    (outcome,) = school(Pupil(), strict, puzzled, rows=ROWS[:1])
    assert outcome == Failed("judge_not_useful", "puzzled: Draft 1 is dull.")


@pytest.mark.parametrize("trouble", [Rejected("refused", "no"), Failed("timed_out", "late")])
def test_a_rewrite_that_does_not_come_is_the_rows_outcome(school, trouble):
    pupil = Pupil(stuck={1: trouble})
    outcomes = school(pupil, Reader({IDS[2]: 9}), rewrites=3)
    assert outcomes[2] == trouble
    assert answers(outcomes) == ["Draft 0."] * 2
    assert len(pupil.seen) == 4


def test_critics_read_in_turn_and_each_rewrite_anew(school):
    first, second = Reader({IDS[0]: 1}, name="first"), Reader({IDS[0]: 2}, name="second")
    (outcome,) = school(Pupil(), first, second, rewrites=2, rows=ROWS[:1])
    assert outcome.label.critiques == ("first: Draft 0 is dull.", "second: Draft 1 is dull.")
    # The second does not see what the first turned down; the first sees every draft.
    assert [row.label.answer for row in first.seen] == ["Draft 0.", "Draft 1.", "Draft 2."]
    assert [row.label.answer for row in second.seen] == ["Draft 1.", "Draft 2."]


def test_rewrites_are_asked_for_together(school):
    pupil = Pupil()
    assert answers(school(pupil, Reader(dict.fromkeys(IDS, 1)))) == ["Draft 1."] * 3
    assert pupil.rounds == 2
