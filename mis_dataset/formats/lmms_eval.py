"""lmms-eval: a folder for ``--include_path``, with one task a subset and the group ``mis`` of them all.

A task is a YAML file; its functions come from ``utils.py``, its rows from a Parquet file beside it. lmms-eval looks for
relative ``data_files`` in the YAML's folder (as of 0.7.3; older versions have to be started there). Each image has a
column of its own, since lmms-eval leaves out such columns, but not lists of images, where it needs only texts. Source:
``docs/guides/task_guide.md`` of https://github.com/EvolvingLMMs-Lab/lmms-eval, and ``lmms_eval/{utils,api/task}.py``
of the package, version 0.7.3.

It does not judge: each task writes ``answers_mis_<subset>.jsonl`` for ``mis evaluate --responses``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.formats import _lmms_eval_utils as utils
from mis_dataset.formats._images import names, pictures
from mis_dataset.formats.source import TESTING, Source
from mis_dataset.options import option

_TEXTS = ("id", "question", "response", "category", "sub_category", "subset", "intent")
_GROUP_ROWS = 10

_TASK = """\
task: mis_{subset}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: mis_{subset}.parquet
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: !function utils.doc_to_target
process_results: !function utils.process_results
generation_kwargs:
  max_new_tokens: {max_new_tokens}
  temperature: 0
  do_sample: false
  until: []  # otherwise an answer would end with its first paragraph
metric_list:
  - metric: answered
    aggregation: !function utils.answered
    higher_is_better: true
metadata:
  version: 1.0
"""


@dataclass(frozen=True, kw_only=True)
class LmmsEval:
    """One task a subset, called ``mis_<subset>``."""

    takes: ClassVar = TESTING

    max_new_tokens: int = option(1024, "The longest answer.", minimum=1)

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis_<subset>.{yaml,parquet}``, ``mis.yaml`` and ``utils.py``."""
        for subset in source.subsets:
            task = _TASK.format(subset=subset, max_new_tokens=self.max_new_tokens)
            (out / f"mis_{subset}.yaml").write_text(task, encoding="utf-8")
            _write_rows(source.rows(subset), out / f"mis_{subset}.parquet")
        tasks = "".join(f"  - mis_{subset}\n" for subset in source.subsets)
        (out / "mis.yaml").write_text(f"group: mis\ntask:\n{tasks}", encoding="utf-8")
        shutil.copyfile(utils.__file__, out / "utils.py")


def _write_rows(rows: Iterator[dict[str, Any]], path: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([(name, pa.string()) for name in _TEXTS] + [(name, image) for name in utils.IMAGES])
    # What tells `datasets` to decode the images; this form is the same in all of its versions.
    features = {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    features |= {name: {"_type": "Image"} for name in utils.IMAGES}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, _GROUP_ROWS)):
            writer.write_table(pa.Table.from_pylist([_entry(row) for row in group], schema))


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    images = pictures(row)
    cells = [{"bytes": image.data, "path": name} for image, name in zip(images, names(row, images), strict=True)]
    return {name: row[name] for name in _TEXTS} | dict(zip(utils.IMAGES, cells, strict=False))
