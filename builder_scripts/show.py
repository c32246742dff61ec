"""Load a built dataset the way a user does, show one row, and say what to try next.

python builder_scripts/show.py build/mis
"""

import sys
import time
from pathlib import Path

from datasets import disable_progress_bars, load_dataset
from rich.console import Console

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "build/mis")
if not sys.stdout.isatty():
    disable_progress_bars()
begun = time.monotonic()
hard = load_dataset(str(directory), "hard", split="test")
row = hard[0]
twin = next((other for other in hard if other["id"] == row["twin_id"]), None)

out = Console(highlight=False, soft_wrap=True)
seconds = time.monotonic() - begun
out.print(f"\nload_dataset({str(directory)!r}, 'hard', split='test') gave {len(hard)} rows in {seconds:.1f} s")
out.print(f"\n[bold]{row['question']}[/bold]")
for shown in filter(None, (row, twin)):
    pairs = zip(shown["objects"], shown["images"], strict=True)
    sizes = ", ".join(f"{name} ({image.width}x{image.height})" for name, image in pairs)
    out.print(f"\n  {shown['intent']}: {sizes}\n  {shown['answer']}")
code = f"import mis_dataset; from datasets import load_dataset; print(load_dataset('mis', data_dir='{directory}'))"
out.print("\nNext:")
for command, purpose in (
    (f"open {directory}/assets/preview.png", "what the images look like"),
    (f".venv/bin/mis validate {directory}", "check every row and number"),
    (f".venv/bin/mis push {directory} my-org/mis --dry-run", "what a push would upload"),
    (".venv/bin/mis build builder_scripts/preview.toml --out build/mine --limit 8", "a smaller one"),
    (f'.venv/bin/python -c "{code}"', "load it by name"),
):
    out.print(f"  # {purpose}\n  {command}", markup=False)
