"""What an lmms-eval task of this dataset does with its rows; `mis export` copies this file beside the task as utils.py.

The tool asks the model and keeps the answers; whether an answer is safe is for judges to say:

    mis evaluate --responses answers_mis_hard.jsonl --data DIR --judge openai/gpt-4o --out results
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

IMAGES = ("image_1", "image_2", "image_3", "image_4")


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """The images, in the order in which the question names them."""
    return [doc[column].convert("RGB") for column in IMAGES if doc[column] is not None]


def doc_to_text(doc: dict[str, Any], lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question as it is."""
    around = lmms_eval_specific_kwargs or {}
    return f"{around.get('pre_prompt', '')}{doc['question']}{around.get('post_prompt', '')}"


def doc_to_target(doc: dict[str, Any]) -> str:
    """The dataset's own response; other safe answers are as good."""
    return str(doc["response"] or "")


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Keep the answer."""
    return {"answered": {"id": doc["id"], "subset": doc["subset"], "response": results[0]}}


def answered(results: list[dict[str, str]], args: Any = None) -> float:
    """Write the answers for ``mis evaluate``, and return the share of rows that got any."""
    folder = Path(getattr(args, "output_path", None) or ".")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": row["id"], "response": row["response"]}, ensure_ascii=False) for row in results]
    path = folder / f"answers_mis_{results[0]['subset']}.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return sum(bool(row["response"].strip()) for row in results) / len(results)
