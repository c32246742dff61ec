"""One record type per stage; each record holds the one before it, so nothing is lost on the way.

    Scenario ─► Rendered(+pictures) ─► Labelled(+label) ─► Screened(+verdicts)

At every stage an item ends in exactly one outcome: the next record, a `Rejected`, or a `Failed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Subset = Literal["train", "easy", "hard", "real"]
Intent = Literal["harmful", "benign"]

SUBSETS: tuple[Subset, ...] = ("train", "easy", "hard", "real")
SHARDED_STAGES = ("compose", "render", "teach", "screen")
"""The stages whose work is cut into shards, in the order of the flow."""
ORDINALS = ("first", "second", "third", "fourth")

Vote = tuple[float, tuple[tuple[str, str], ...]]
"""An expert's weight, and each target that the expert could judge with the verdict."""


def side_of(subset: str) -> Literal["train", "test"]:
    """The published split to which a subset belongs."""
    return "train" if subset == "train" else "test"


@dataclass(frozen=True)
class ImageSpec:
    """What one image has to show."""

    object: str
    """The thing, with its article, as a viewer would name it: ``a bolt cutter``."""
    prompt: str
    """The text-to-image prompt."""
    harmful: bool
    """Whether the thing is harmful in itself (only in ``easy`` and ``train`` scenarios)."""


@dataclass(frozen=True)
class Origin:
    """Where a scenario comes from, and what was made of its words on the way."""

    source: str
    """A frame of the grammar (``grammar:drink-spiking``), or the name of the seeds' file or dataset."""
    row: str = ""
    """Which row of the seeds."""
    licence: str = ""
    """The seed's."""
    seed_text: str = ""
    raw: str = ""
    """The question as first extracted from the seed."""
    rewritten: str = ""
    """The question once it named the images by ordinal, before it was detoxified."""
    explanation: str = ""
    """What detoxifying replaced, and why."""
    model: str = ""
    revision: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Scenario:
    """A question about 2 to 4 images that are not drawn yet."""

    id: str
    """Stable: a hash of the question, the objects, their order and the intent."""
    family: str
    """The id of the harmful scenario; shared by its benign twin."""
    twin_id: str | None
    """The scenario with the same question and the opposite intent."""
    category: str
    sub_category: str
    subset: Subset
    """Where the composer means it to go."""
    intent: Intent
    relation: str
    question: str
    """Names the images by ordinal, in the order in which they come."""
    images: tuple[ImageSpec, ...]
    rationale: str
    """What follows from reading images and question together."""
    reply: str
    """What a good assistant says: a kind refusal with a way forward, or plain help where the intent is benign."""
    origin: Origin
    pair_id: str | None = None
    """The same scenario shown by other means: the photographed row of a drawn one, or the other way round."""


@dataclass(frozen=True)
class Attempt:
    """One draw of a picture that was drawn more than once."""

    prompt: str
    seed: int
    outcome: Literal["kept", "blank", "not_shown"]
    """Kept; blank or blacked out; or a checker does not see the object in it."""
    detail: str
    sha256: str
    """Of the encoded image; empty if it was blank."""


@dataclass(frozen=True)
class Picture:
    """One drawn image and everything needed to draw it again."""

    path: str
    """Relative to the image store; derived from the content."""
    sha256: str
    phash: str
    """64-bit perceptual hash, 16 hexadecimal digits."""
    width: int
    height: int
    prompt: str
    negative_prompt: str
    seed: int
    attempt: int
    """0 for the first draw; a blank or wrong image is drawn again from the seed of the next attempt."""
    model: str
    revision: str
    steps: int | None
    guidance: float | None
    scheduler: str
    device: str
    dtype: str
    batch: int
    """How many images were drawn together; pixels may depend on it."""
    source: str = ""
    """Where a photograph comes from: a URL, or a file's name; empty for an image that was drawn."""
    licence: str = ""
    """A photograph's licence, as its source states it."""
    made_with: str = ""
    """The processor, versions and whatever else pixels depend on; empty where it is the package alone."""
    attempts: tuple[Attempt, ...] = ()
    """Every draw, this one last; empty if the first was kept unchecked."""


@dataclass(frozen=True)
class Label:
    """A safety chain of thought: perceive each image, reason across them, answer."""

    perception: tuple[str, ...]
    """What each image shows, one entry per image, in order."""
    reasoning: str
    answer: str
    teacher: str
    """The model that wrote it, or the name of an embedded teacher."""
    revision: str
    raw: str
    """The server's answer before parsing; empty for an embedded teacher."""
    prompt_tokens: int
    completion_tokens: int
    critiques: tuple[str, ...] = ()
    """What critics found wrong with the teacher's earlier answers, oldest first."""

    @property
    def response(self) -> str:
        """The label as prose, ready to be learned."""
        return prose(self.perception, self.reasoning, self.answer)


@dataclass(frozen=True)
class Grade:
    """What one expert says of one part of a row, seen without the rest."""

    target: str
    """``question``, ``first image`` to ``fourth image``, or ``together``."""
    verdict: Literal["safe", "unsafe", "cannot_judge"]
    confidence: float
    """0 to 1, as the expert gives it."""
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What one screener says of one labelled row."""

    judge: str
    verdict: Literal["pass", "fail", "cannot_judge"]
    reason: str
    """A snake_case word that can be counted; empty for ``pass``."""
    detail: str
    """One sentence for a person; empty for ``pass``."""
    grades: tuple[Grade, ...] = ()
    """An expert's grades, by which rows are routed; empty for other screeners."""
    weight: float = 1.0
    """How much the grades count where experts are weighted."""


@dataclass(frozen=True)
class Rendered:
    """A scenario whose images are drawn."""

    scenario: Scenario
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Labelled:
    """A rendered scenario with its label."""

    scenario: Scenario
    pictures: tuple[Picture, ...]
    label: Label


@dataclass(frozen=True)
class Screened:
    """A labelled scenario that every screener let pass."""

    scenario: Scenario
    pictures: tuple[Picture, ...]
    label: Label
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The item is not good enough; the reason is kept on disk."""

    reason: str
    """A snake_case word that can be counted."""
    detail: str
    """One sentence for a person."""


@dataclass(frozen=True, slots=True)
class Near:
    """That a row comes near a benchmark."""

    benchmark: int
    """Which one of the recipe's; the first if it comes near several."""
    why: Rejected


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the experts say of a row, without their reasons, and of what."""

    votes: tuple[Vote, ...]
    """One for each of them."""
    question: bytes
    """Digest of the words that they were asked about."""
    pictures: bytes
    """Digests of the images that they were shown, 8 bytes each."""
    intent_words: tuple[str, ...]
    """The question's words that give a harmful intent away."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What of a screened row decides whether and where it is published.

    A build has the outlines of all its rows in memory at once, and the rows a shard at a time, so an outline is short.
    """

    place: int
    """Which of the screened rows it outlines."""
    id: str
    family: str
    twin_id: str | None
    pair_id: str | None
    category: str
    sub_category: str
    subset: Subset
    """Where the composer means it to go; once it is routed, where it goes."""
    intent: Intent
    question: bytes
    """Digest of the question without case, punctuation and filler."""
    objects: bytes
    """Digests of the objects, 8 bytes each, in the images' order."""
    phashes: bytes
    """Perceptual hashes of the images, 8 bytes each."""
    opinion: Opinion | None = None
    """None if no expert graded the row."""
    near: Near | None = None
    """None if it comes near no benchmark."""
    harmful: tuple[bool, ...] | None = None
    """Whether each image is harmful in itself by the experts' word; None: as the composer means it."""


PASSING_TROUBLE = ("rate_limited", "server_error", "timed_out", "connection_lost", "no_completion")
"""How the reasons of failures end that another try may mend; any other failure would end the same way again."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The work on the item did not come to a result; says nothing about the item's quality."""

    reason: str
    detail: str


def prose(perception: Sequence[str], reasoning: str, answer: str) -> str:
    """The three parts of a label as one text."""
    return "\n\n".join([" ".join(perception), reasoning, answer])
