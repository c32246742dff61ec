"""Rows as trainers write them: images, one question and one answer, under keys that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mis_dataset.intake._entry import Entry, without_marks
from mis_dataset.intake._files import Files
from mis_dataset.records import SUBSETS, Intent, Subset


@dataclass(frozen=True)
class Style:
    """Under which keys the parts of a row stand."""

    images: tuple[str, ...]
    """The first of these that a row has."""
    messages: str = "conversations"
    role: str = "from"
    content: str = "value"
    user: str = "human"
    assistant: str = "gpt"

    def entries(self, files: Files, file: Path, folder: Path, subset: Subset, intent: Intent) -> Iterator[Entry]:
        """A file's rows; what is wrong with them is noted.

        Args:
            files: finds the images, and takes the notes.
            file: JSON or JSONL.
            folder: from which the paths of images start.
            subset: of rows that do not name theirs, in a file that is not called ``mis_<subset>``.
            intent: of rows that do not name theirs.
        """
        ids = files.row_ids()
        known = file.stem.removeprefix("mis_")
        if known != file.stem and known in SUBSETS:
            subset = known
        for where, position, row in files.rows(file):
            named: Any = next((row[key] for key in self.images if row.get(key) is not None), [])
            names = named if isinstance(named, list) else [named]
            if files.passes_over(where, len(names)):
                continue
            question, response = self._spoken(files, where, row, len(names))
            yield Entry(
                where=where,
                file=file.name,
                row=ids.of(where, position, row),
                subset=cast("Subset", _one_of(files, where, row, "subset", SUBSETS, subset)),
                intent=intent_of(files, where, row, intent),
                question=question,
                images=files.images(where, names, folder),
                response=response,
                category=files.text(where, row, "category", needed=False),
                sub_category=files.text(where, row, "sub_category", needed=False),
            )

    def _spoken(self, files: Files, where: str, row: Mapping[str, Any], images: int) -> tuple[str, str]:
        """The question and the answer; empty, and noted, if the row does not hold exactly these."""
        turns = row.get(self.messages)
        said = [self._turn(turn) for turn in turns] if isinstance(turns, list) else []
        if [who for who, _ in said] != [self.user, self.assistant]:
            speakers = " and ".join(str(who) for who, _ in said) or "nothing"
            remedy = f"a row is one {self.user!r} and one {self.assistant!r}, each with a text as {self.content!r}"
            files.note(where, f"its {self.messages} hold {speakers}; {remedy}")
            return "", ""
        (_, question), (_, answer) = said
        try:
            return without_marks(question, images), answer
        except ValueError as error:
            files.note(where, str(error))
            return "", ""

    def _turn(self, turn: Any) -> tuple[str, str]:
        """Who speaks, and the words."""
        if isinstance(turn, dict) and isinstance(words := turn.get(self.content), str) and words.strip():
            return str(turn.get(self.role)), words
        return "a turn without words", ""


def intent_of(files: Files, where: str, row: Mapping[str, Any], default: Intent) -> Intent:
    """A row's intent, if it names one."""
    return cast("Intent", _one_of(files, where, row, "intent", ("harmful", "benign"), default))


def _one_of(files: Files, where: str, row: Mapping[str, Any], key: str, known: tuple[str, ...], default: str) -> str:
    value = row.get(key, default)
    if value in known:
        return str(value)
    files.note(where, f"its {key} is {value!r}; write one of {', '.join(known)}, or leave it out")
    return default
