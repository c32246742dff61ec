"""Prompts that are read once: what the text encoders made of the last ones is kept."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mis_dataset.backends import require

REMEMBERED = 128
"""Prompts; those of Stable Diffusion 3.5 take 2.7 MB each in half precision."""

_GUIDED = "do_classifier_free_guidance"


class RememberedPrompts:
    """Stands in for a pipeline's ``encode_prompt``: each distinct prompt is read once, the negative prompt once in all.

    Every prompt is read alone, so its embeddings do not depend on the prompts beside it.
    """

    def __init__(
        self,
        encode: Callable[..., Any],
        at_work: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        looks_ahead: bool = False,
        remembered: int = REMEMBERED,
    ) -> None:
        """Remember for a pipeline.

        Args:
            encode: the pipeline's own method.
            at_work: brings the text encoders to where they work, and takes them away again.
            looks_ahead: whether they read what is `coming`, too, once they are at work: bringing them is slow.
            remembered: how many prompts are kept, the latest used.
        """
        self.coming: Sequence[str] = ()
        """Prompts that will be wanted soon."""
        self._encode, self._at_work = encode, at_work
        self._looks_ahead, self._remembered = looks_ahead, remembered
        self._signature = inspect.signature(encode)
        self._known: OrderedDict[tuple[str, str], tuple[Any, ...]] = OrderedDict()
        self._guided: dict[str, tuple[Any, ...]] = {}
        """What guided calls gave; of them, later ones take what belongs to the negative prompt."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``encode_prompt`` gives for a list of prompts."""
        call = self._signature.bind(*args, **kwargs)
        prompts, negative = call.arguments.get("prompt"), call.arguments.get("negative_prompt")
        if not isinstance(prompts, list) or (isinstance(negative, list) and len(set(negative)) > 1):
            return self._as_ever(call)
        if isinstance(negative, list):
            call.arguments["negative_prompt"] = negative[:1]
        how = repr(sorted((name, repr(value)) for name, value in call.arguments.items() if name != "prompt"))
        self._read(prompts, call, how)
        found = [self._known[prompt, how] for prompt in prompts]
        for prompt in prompts:
            self._known.move_to_end((prompt, how))
        while len(self._known) > max(self._remembered, len(prompts)):
            self._known.popitem(last=False)
        if not _fit(found):
            # Embeddings as long as their prompts: the pipeline knows how to pad them.
            call.arguments |= {"prompt": prompts, "negative_prompt": negative}
            return self._as_ever(call)
        return tuple(_joined(parts) for parts in zip(*found, strict=True))

    def _read(self, prompts: Sequence[str], call: inspect.BoundArguments, how: str) -> None:
        """Read what is not known of these prompts and, if there is any, of those to come."""
        if all((prompt, how) in self._known for prompt in prompts):
            return
        wanted = dict.fromkeys([*prompts, *(self.coming if self._looks_ahead else ())])
        with self._at_work():
            for prompt in list(wanted)[: max(self._remembered, len(prompts))]:
                if (prompt, how) not in self._known:
                    self._known[prompt, how] = self._one(prompt, call, how)

    def _one(self, prompt: str, call: inspect.BoundArguments, how: str) -> tuple[Any, ...]:
        call.arguments["prompt"] = [prompt]
        if not call.arguments.get(_GUIDED):
            return self._called(call)
        if how not in self._guided:
            self._guided = {how: self._called(call)}
            return self._guided[how]
        call.arguments[_GUIDED] = False
        parts = self._called(call)
        call.arguments[_GUIDED] = True
        return tuple(other if part is None else part for part, other in zip(parts, self._guided[how], strict=True))

    def _called(self, call: inspect.BoundArguments) -> tuple[Any, ...]:
        parts = self._encode(*call.args, **call.kwargs)
        return parts if isinstance(parts, tuple) else (parts,)

    def _as_ever(self, call: inspect.BoundArguments) -> Any:
        with self._at_work():
            return self._encode(*call.args, **call.kwargs)


def _fit(found: Sequence[tuple[Any, ...]]) -> bool:
    """Whether the parts of all prompts can be put together."""
    shapes = {tuple(getattr(part, "shape", None) for part in parts) for parts in found}
    return len(shapes) == 1


def _joined(parts: Sequence[Any]) -> Any:
    """One part of all prompts together; what has no place for several prompts is the same for all."""
    torch = require("torch", "diffusion")
    if isinstance(parts[0], torch.Tensor) and parts[0].shape[0] == 1:
        return torch.cat(list(parts))
    return [item for part in parts for item in part] if isinstance(parts[0], list) else parts[0]
