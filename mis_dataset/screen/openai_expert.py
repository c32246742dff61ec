"""One expert of a panel, behind an API: grades the question alone, each image alone, and all together.

Every part is asked about in a conversation of its own, and the expert is told neither what the row is meant to be nor
what else there is. An expert lets every row pass: `mis_dataset.route` settles what the grades mean for it, once all
experts have spoken. Several experts are several ``[[screen]]`` tables with other servers, models or prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from mis_dataset.chat import REPAIR_PROMPT, Ask, Chat, JsonAnswer, VisionSettings, ask_json, fill_prompt, text_part
from mis_dataset.errors import BackendError
from mis_dataset.options import local_path, option
from mis_dataset.records import ORDINALS, Failed, Grade, Labelled, Rejected, Verdict
from mis_dataset.resources import resource
from mis_dataset.schema import load_schema
from mis_dataset.seeds import stable_seed
from mis_dataset.storage import located

_PROMPTS = Path(__file__).with_name("prompts")
_GUIDE = _PROMPTS / "openai_expert_guide.txt"
_QUESTION = _PROMPTS / "openai_expert_question.txt"
_IMAGE = _PROMPTS / "openai_expert_image.txt"
_TOGETHER = _PROMPTS / "openai_expert_together.txt"
_SCHEMA = resource("dataset_card", "schemas", "expert_answer.schema.json")


@dataclass(frozen=True, kw_only=True)
class OpenaiExpert(VisionSettings):
    """Asks for a verdict, a confidence and a reason as JSON; equal questions and pictures of a shard are asked once."""

    version: ClassVar[int] = 1
    asks: ClassVar[tuple[Ask, ...]] = (
        Ask("family", (_GUIDE, _QUESTION), 60),
        Ask("image", (_GUIDE, _IMAGE), 60, "one"),
        Ask("row", (_GUIDE, _TOGETHER), 60, "all"),
    )

    name: str = option("", "What verdicts call the expert; empty: the model's name.")
    weight: float = option(1.0, "How much its grades count where split.agreement is weighted.", minimum=0)
    prompt: str | None = option(
        None, "A text file to take instead of the shipped guide to what is safe and unsafe.", path=True
    )

    def __post_init__(self) -> None:
        try:
            self._guide.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(
                f"screen.prompt: {self._guide} cannot be read ({error}); name a text file, or leave prompt out"
            ) from error

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files whose content counts for fingerprints."""
        return self._guide, _QUESTION, _IMAGE, _TOGETHER, REPAIR_PROMPT, _SCHEMA

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        """Yield a ``pass`` with the grades of each row; what the expert refuses or garbles is graded ``cannot_judge``.

        A row of which a part got no answer at all has no grades: it cannot be judged yet, and is tried again.

        Raises:
            ServerError: the server cannot be used; see `ChatSettings.converse`.
            StorageError: an image cannot be read.
        """
        parts = list(dict.fromkeys(part for row in rows for part in _parts(row).values()))
        answers = zip(parts, self.converse(self._grade, parts), strict=True)
        known: dict[_Part, Grade | Failed] = {}
        for row in rows:
            wanted = _parts(row)
            while not known.keys() >= set(wanted.values()):
                part, answer = next(answers)
                known[part] = answer
            yield self._verdict({target: known[part] for target, part in wanted.items()})

    def _verdict(self, said: Mapping[str, Grade | Failed]) -> Verdict:
        judge = self.name or self.model
        if failed := next((answer for answer in said.values() if isinstance(answer, Failed)), None):
            return Verdict(judge, "cannot_judge", f"expert_{failed.reason}", failed.detail)
        grades = tuple(replace(grade, target=target) for target, grade in said.items() if isinstance(grade, Grade))
        return Verdict(judge, "pass", "", "", grades, self.weight)

    async def _grade(self, chat: Chat, part: _Part) -> Grade | Failed:
        content = [*await asyncio.to_thread(self.show, part.images), text_part(self._prompt(part))]
        answer = await ask_json(
            chat,
            [{"role": "user", "content": content}],
            load_schema("expert_answer"),
            max_repairs=self.max_repairs,
            # Images are named by their content, so that the seed is the part's own wherever it occurs.
            # By its name, too: two servers may give one model's name to different models.
            seed=stable_seed("openai_expert", self.seed, self.name, part.question, *(path.name for path in part.images))
            >> 32,
            fault=_fault,
        )
        if isinstance(answer, Rejected):
            return _no_grade(answer)
        if isinstance(answer, JsonAnswer):
            return Grade("", answer.data["verdict"], float(answer.data["confidence"]), answer.data["reason"])
        return answer

    @property
    def _guide(self) -> Path:
        return local_path(self.prompt) if self.prompt else _GUIDE

    def _prompt(self, part: _Part) -> str:
        guide = self._guide.read_text(encoding="utf-8").strip()
        match part.kind:
            case "question":
                return fill_prompt(_QUESTION, guide=guide, question=part.question)
            case "image":
                return fill_prompt(_IMAGE, guide=guide)
            case "together":
                return fill_prompt(_TOGETHER, guide=guide, question=part.question, count=len(part.images))


@dataclass(frozen=True)
class _Part:
    """What is graded at once, without the rest."""

    kind: Literal["question", "image", "together"]
    question: str
    images: tuple[Path, ...]


def _parts(row: Labelled) -> dict[str, _Part]:
    """A row's parts by the targets of their grades."""
    question, images = row.scenario.question, tuple(located(picture.path) for picture in row.pictures)
    return {
        "question": _Part("question", question, ()),
        **{f"{ordinal} image": _Part("image", "", (path,)) for ordinal, path in zip(ORDINALS, images, strict=False)},
        "together": _Part("together", question, images),
    }


def _fault(data: dict[str, Any]) -> str:
    return "" if 0 <= data["confidence"] <= 1 else "confidence is not between 0 and 1"


def _no_grade(why: Rejected) -> Grade:
    return Grade("", "cannot_judge", 0.0, f"{why.reason}: {why.detail}")
