"""Generate, check, publish and load multi-image safety data for vision-language models.

Importing this package makes ``datasets.load_dataset("mis")`` work; `mis_dataset.loader` says how.
"""

from __future__ import annotations

__version__ = "0.1.0"

# After the version, which it needs. Imported for what it does: it tells `datasets` of "mis".
from mis_dataset import loader

__all__ = ["__version__", "loader"]
