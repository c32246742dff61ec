"""Nothing imports upward, and stages do not import each other: the flow goes one way."""

import ast
from pathlib import Path

import mis_dataset

PACKAGE = Path(mis_dataset.__file__).parent

LAYERS = [
    {
        "errors",
        "records",
        "taxonomy",
        "schema",
        "resources",
        "seeds",
        "options",
        "policy",
        "lexicon",
        "imagehash",
        "mistakes",
        "agreement",
        "budget",
        "stopping",
        "traffic",
    },
    {"backends", "ledger", "storage", "tables"},
    {"recipe_checks"},
    {"recipe"},
    {"chat"},
    {"compose", "render", "check", "teach", "screen"},
    {"run", "crew", "real", "rounds", "outline"},
    {"route", "decontaminate", "split", "funnel"},
    {"assemble", "settle"},
    {"validation", "publish", "forecast", "start", "verify", "versions", "diff"},
    {"pipeline"},
    {"loader", "formats", "intake", "evaluate", "finetune"},
    {"api", "cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
STAGES = {"compose", "render", "check", "teach", "screen"}


def unit(module: str) -> str:
    """The layer's member to which a module belongs: ``mis_dataset.render.pictogram`` belongs to ``render``."""
    return [*module.split("."), ""][1]


def imports() -> list[tuple[str, str]]:
    found = []
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(["mis_dataset", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mis_dataset"):
                # `from mis_dataset import policy` imports the unit `policy`.
                names = [node.module] if "." in node.module else [f"mis_dataset.{alias.name}" for alias in node.names]
                found += [(module, name) for name in names]
            elif isinstance(node, ast.Import):
                found += [(module, alias.name) for alias in node.names if alias.name.startswith("mis_dataset.")]
    return found


def test_every_module_has_a_layer():
    modules = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    modules = {
        name for name in modules if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name / "__init__.py").exists()
    }
    assert modules - {"__init__"} == set(LEVEL)


def test_nothing_imports_upward():
    upward = [
        f"{module} imports {name}"
        for module, name in imports()
        if unit(module) and unit(name) in LEVEL and LEVEL[unit(name)] > LEVEL[unit(module)]
    ]
    assert upward == []


def test_stages_do_not_import_each_other():
    crossing = [
        f"{module} imports {name}"
        for module, name in imports()
        if {unit(module), unit(name)} <= STAGES and unit(module) != unit(name)
    ]
    assert crossing == []


def test_only_the_pipeline_joins_the_stages():
    joining = {
        unit(module)
        for module, name in imports()
        if unit(name) in {"split", "assemble"} and unit(module) not in {"split", "assemble"}
    }
    assert joining <= {
        "settle",
        "start",
        "pipeline",
        "forecast",
        "validation",
        "verify",
        "versions",
        "diff",
        "loader",
        "evaluate",
        "finetune",
        "formats",
        "intake",
        "publish",
        "cli",
    }
