from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline by name (``sd1``, ``sd1_flagging``, ``sdxl``, ``sd3``, ``flux``), built once."""
    tiny_pipelines = pytest.importorskip("tiny_pipelines", reason="needs the extra 'diffusion'")

    @functools.cache
    def build(name: str) -> Path:
        return getattr(tiny_pipelines, f"tiny_{name}")(tmp_path_factory.mktemp("tiny") / name)

    return build
