"""Images of others, wherever they are packed."""

import zipfile
from multiprocessing import get_context

import pytest

from mis_dataset.intake._files import Found
from mis_dataset.seeds import stable_random


# A forked process shares its place in every open file with its parent.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_reads_a_zip_on_its_own(tmp_path):
    archive, large = tmp_path / "images.zip", stable_random("large").randbytes(1_000_000)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("small.png", b"small")
        packed.writestr("large.png", large)
    assert Found("small.png", archive, "small.png").read() == b"small"
    image = Found("large.png", archive, "large.png")
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(image.read) == large
    assert image.read() == large
