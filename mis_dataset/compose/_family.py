"""From one seed to one family: a harmful scenario and, if there is an honest one, its benign twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mis_dataset.chat import Message
from mis_dataset.compose._interview import Interview, Stop
from mis_dataset.compose._steps import Elements, Meaning, Wording, detoxify, extract, find_twin, keep, rewrite
from mis_dataset.records import Failed, Intent, Origin, Rejected, Scenario, Subset
from mis_dataset.seeds import stable_digest


@dataclass(frozen=True)
class Composed:
    """What became of one seed."""

    harmful: Scenario
    benign: Scenario | None = None
    twin_dropped: Rejected | Failed | None = None
    """Why there is no twin, if one was wanted."""


async def compose_family(
    interview: Interview, examples: str, picture: Sequence[Message], *, keep_words: bool, wants_twin: bool
) -> Composed:
    """Take a seed through all steps.

    Args:
        interview: with the model, about the seed.
        examples: solved examples as paragraphs of a prompt.
        picture: the seed's image, if it has one.
        keep_words: leave out the step that takes the harm out of the words.
        wants_twin: whether to look for a twin; the family stands without one.

    Raises:
        Stop: the seed comes to nothing.
        ServerError: no request can succeed.
    """
    found = await extract(interview, examples, picture)
    meaning = await keep(interview, found)
    rewritten = await rewrite(interview, found)
    if keep_words:
        wording = Wording(rewritten, explanation="", words_unsafe=True)
    else:
        wording = await detoxify(interview, rewritten, meaning.images)
    seed = interview.seed
    origin = Origin(
        source=seed.source,
        row=str(seed.row),
        licence=seed.licence,
        seed_text=seed.text,
        raw=found.question,
        rewritten=rewritten,
        explanation=wording.explanation,
    )
    harmful = _scenario(found, wording, meaning, "harmful", _billed(origin, interview))
    if not wants_twin:
        return Composed(harmful)
    spent = interview.tokens
    try:
        twin = await find_twin(interview, wording.question, meaning, harmful.subset)
    except Stop as stop:
        return Composed(replace(harmful, origin=_billed(origin, interview)), twin_dropped=stop.outcome)
    benign = _scenario(found, wording, twin, "benign", _billed(origin, interview, spent))
    return Composed(
        replace(harmful, twin_id=benign.id),
        replace(benign, family=harmful.id, twin_id=harmful.id, subset=harmful.subset),
    )


def _scenario(found: Elements, wording: Wording, meaning: Meaning, intent: Intent, origin: Origin) -> Scenario:
    sub_category, question = found.sub_category, wording.question
    digest = stable_digest(sub_category.name, intent, question, *(image.object for image in meaning.images))
    name = f"mis-{digest[:16]}"
    return Scenario(
        id=name,
        family=name,
        twin_id=None,
        category=sub_category.category,
        sub_category=sub_category.name,
        subset=_subset(wording, meaning),
        intent=intent,
        relation=found.relation,
        question=question,
        images=meaning.images,
        rationale=meaning.rationale,
        reply=meaning.reply,
        origin=origin,
    )


def _subset(wording: Wording, meaning: Meaning) -> Subset:
    """Where the composer means a harmful scenario to go, by the rule of the MIS paper."""
    if wording.words_unsafe:
        return "train"
    return "easy" if any(image.harmful for image in meaning.images) else "hard"


def _billed(origin: Origin, interview: Interview, spent: tuple[int, int] = (0, 0)) -> Origin:
    """The origin with who answered, and the tokens since so many were spent."""
    (prompt, completion), (prompt_before, completion_before) = interview.tokens, spent
    return replace(
        origin,
        model=interview.model,
        revision=interview.revision,
        prompt_tokens=prompt - prompt_before,
        completion_tokens=completion - completion_before,
    )
