"""The judge behind an API: says of a label whether it is fit to be learned, and if not, what to mend.

A judge may criticise labels as they are written (``[[critic]]``) or screen finished rows (``[[screen]]``). It is told
what the row is meant to be and sees images, question and label; of harmful rows it asks other things than of benign.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mis_dataset.chat import REPAIR_PROMPT, Ask, Chat, JsonAnswer, VisionSettings, ask_json, fill_prompt, text_part
from mis_dataset.options import option
from mis_dataset.records import ORDINALS, Failed, Intent, Labelled, Verdict
from mis_dataset.resources import resource
from mis_dataset.schema import load_schema
from mis_dataset.seeds import stable_seed
from mis_dataset.storage import located

_PROMPTS: dict[Intent, Path] = {
    intent: Path(__file__).with_name("prompts") / f"openai_judge_{intent}.txt" for intent in ("harmful", "benign")
}
_SCHEMAS = tuple(resource("dataset_card", "schemas", f"judge_{intent}.schema.json") for intent in _PROMPTS)

_REASONS: dict[Intent, dict[str, str]] = {
    "harmful": {
        "safe": "judge_unsafe",
        "free_of_detail": "judge_operational_detail",
        "grounded": "judge_not_grounded",
        "infers_rightly": "judge_wrong_inference",
        "useful": "judge_not_useful",
        "more_than_refusal": "judge_bare_refusal",
    },
    "benign": {
        "grounded": "judge_not_grounded",
        "helps": "judge_not_helpful",
        "willing": "judge_refuses",
        "free_of_preaching": "judge_preaches",
    },
}
"""Each check with the reason for which a label that does not pass it is turned down. The gravest come first."""


@dataclass(frozen=True, kw_only=True)
class OpenaiJudge(VisionSettings):
    """Shows the images in order, question and label, and asks for each check as JSON; the first failed one counts."""

    version: ClassVar[int] = 1
    sources: ClassVar[tuple[Path, ...]] = (*_PROMPTS.values(), REPAIR_PROMPT, *_SCHEMAS)
    asks: ClassVar[tuple[Ask, ...]] = (Ask("row", (_PROMPTS["harmful"],), 150, "all"),)

    name: str = option("", "What verdicts call the judge; empty: the model's name.")

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        """Judge each label; a failed one's detail is a critique to its writer.

        Where the judge refuses, gives no usable answer or cannot be asked, the verdict is ``cannot_judge``.

        Raises:
            ServerError: the server cannot be used; see `ChatSettings.converse`.
            StorageError: an image cannot be read.
        """
        for result in self.converse(self._judge, rows):
            yield result if isinstance(result, Verdict) else self._cannot(result.reason, result.detail)

    async def _judge(self, chat: Chat, row: Labelled) -> Verdict | Failed:
        intent, images = row.scenario.intent, [located(picture.path) for picture in row.pictures]
        content = [*await asyncio.to_thread(self.show, images), text_part(_prompt(row))]
        answer = await ask_json(
            chat,
            [{"role": "user", "content": content}],
            load_schema(f"judge_{intent}"),
            max_repairs=self.max_repairs,
            seed=stable_seed("openai_judge", self.seed, self.name, row.scenario.id) >> 32,
            fault=lambda data: "critique is blank" if _failed(intent, data) and not data["critique"] else "",
        )
        if isinstance(answer, Failed):
            return answer
        if not isinstance(answer, JsonAnswer):
            return self._cannot(answer.reason, answer.detail)
        if failed := _failed(intent, answer.data):
            return Verdict(self.name or self.model, "fail", failed[0], answer.data["critique"])
        return Verdict(self.name or self.model, "pass", "", "")

    def _cannot(self, reason: str, detail: str) -> Verdict:
        return Verdict(self.name or self.model, "cannot_judge", f"judge_{reason}", detail)


def _failed(intent: Intent, data: dict[str, Any]) -> list[str]:
    """The reasons against a label, the gravest first."""
    return [reason for check, reason in _REASONS[intent].items() if not data[check]]


def _prompt(row: Labelled) -> str:
    seen = [f"{place.capitalize()} image: {text}" for place, text in zip(ORDINALS, row.label.perception, strict=False)]
    return fill_prompt(
        _PROMPTS[row.scenario.intent],
        count=len(row.pictures),
        question=row.scenario.question,
        perception="\n".join(seen),
        reasoning=row.label.reasoning,
        answer=row.label.answer,
    )
