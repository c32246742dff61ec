"""Folders of pipeline weights, as ``save_pretrained`` and ``hf download`` write them: what they hold, and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mis_dataset.errors import RenderError
from mis_dataset.seeds import stable_digest

INDEX = "model_index.json"
_PICKLES = {".bin", ".ckpt", ".pt", ".pth"}
_BLOCK = 64 * 1024
_BLOCKS = 512


def read_index(folder: Path) -> dict[str, Any]:
    """The pipeline's class and components.

    Raises:
        RenderError: the folder has no readable ``model_index.json``.
    """
    path = folder / INDEX
    remedy = f"name the folder that 'hf download' or save_pretrained wrote, the one with {INDEX} at its top"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RenderError(f"{folder} holds no {INDEX}, so it is no diffusers pipeline; {remedy}") from error
    except (OSError, ValueError) as error:
        raise RenderError(f"cannot read {path}: {error}; {remedy}") from error
    if not isinstance(index, dict) or "_class_name" not in index:
        raise RenderError(f"{path} names no pipeline class; {remedy}")
    return index


def check_folder(folder: Path, variant: str | None = None) -> None:
    """Look for what can be seen without loading: each component's folder, and weights that are whole and no pickles.

    Raises:
        RenderError: something is missing or cut off, no component has the variant, or a component's weights could run
            code when they are read.
    """
    components = _component_folders(folder)
    # A repository of a single component may keep its files at the top, beside config.json.
    missing = [path.name for path in components if not _files(path) and not (folder / "config.json").is_file()]
    if missing:
        raise RenderError(
            f"{folder} is incomplete: {INDEX} names {', '.join(missing)}, but they are not there; download it again"
        )
    for path in components:
        suffixes = {file.suffix for file in _files(path)}
        if suffixes & _PICKLES and ".safetensors" not in suffixes:
            raise RenderError(
                f"{path} has pickled weights only, which can run code when they are read; get the model's safetensors "
                "files, or convert it with save_pretrained(folder, safe_serialization=True)"
            )
    weights = [file for path in components for file in _files(path) if file.suffix == ".safetensors"]
    if variant and weights and not _of_variant(weights, variant):
        raise RenderError(f"{folder} has no weights of the variant {variant!r}; leave variant out")
    for path in components:
        of_part = [file for file in weights if file.is_relative_to(path)]
        # A component that lacks the variant is loaded without it; what is not loaded may be left incomplete.
        for file in (variant and _of_variant(of_part, variant)) or _of_variant(of_part, ""):
            _check_whole(file)


def _of_variant(files: Sequence[Path], variant: str) -> list[Path]:
    """The files of a variant, as in ``model.fp16.safetensors`` or ``model.fp16-00001-of-00002.safetensors``."""
    return [file for file in files if file.stem.partition(".")[2].partition("-")[0] == variant]


def _check_whole(file: Path) -> None:
    """Refuse a file that does not begin as safetensors do or is not as long as it says, without reading the tensors.

    The format: the header's length in 8 bytes, the header as JSON, the tensors (huggingface/safetensors, README).

    Raises:
        RenderError: names the file and what is wrong with it.
    """
    remedy = "it is damaged, or its download broke off; get it again"
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= size - 8:
                raise RenderError(f"{file} does not begin as safetensors do; {remedy}")
            header = json.loads(stream.read(length))
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except OSError as error:
        raise RenderError(f"cannot read {file}, a part of the model: {error.strerror}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RenderError(f"{file} has a header that is no list of tensors; {remedy}") from error
    if (whole := 8 + length + max(ends, default=0)) != size:
        raise RenderError(f"{file} has {size:,} bytes, but its header tells of {whole:,}; {remedy}")


def folder_digest(folder: Path) -> str:
    """A digest of what the pipeline reads: files up to 32 MiB in full, larger ones by size and 512 samples.

    The samples lie evenly from the first to the last byte, because a fine-tuned model differs from its base
    anywhere but at the ends.

    Raises:
        RenderError: a file cannot be read.
    """
    files = [folder / INDEX, *(file for path in _component_folders(folder) for file in _files(path))]
    try:
        return stable_digest(
            *(part for file in files for part in (file.relative_to(folder).as_posix(), sampled_digest(file)))
        )
    except OSError as error:
        raise RenderError(f"cannot read {error.filename}, a part of the model: {error.strerror}") from error


def _component_folders(folder: Path) -> list[Path]:
    """Components are the entries ``name: [library, class]``; one left out has nulls."""
    index = read_index(folder)
    return [
        folder / name
        for name, entry in sorted(index.items())
        if not name.startswith("_") and isinstance(entry, list) and len(entry) == 2 and entry[1] is not None
    ]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def sampled_digest(file: Path) -> str:
    """A digest of a file: whole if it is small, else of its size and samples all over it."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            digest.update(stream.read())
        else:
            for block in range(_BLOCKS):
                stream.seek(block * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()
