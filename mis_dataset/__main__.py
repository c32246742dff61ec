"""``python -m mis_dataset`` is ``mis``."""

from mis_dataset.cli import main

main()
