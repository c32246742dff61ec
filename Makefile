# Two commands are enough: `make preview` builds a small dataset, `make test` runs the suite.

PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check

.PHONY: help preview test miniature bench format clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

preview: .venv/ready  ## build, load and show a small dataset: no network beyond the install, no GPU
	@if grep -qs '"name": "preview"' build/mis/manifest.json; then rm -rf build/mis; fi
	@.venv/bin/mis build builder_scripts/preview.toml --out build/mis
	@.venv/bin/python builder_scripts/show.py build/mis

test: .venv-test/ready  ## lint, check types and run the whole suite in an environment of its own
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses 2 --dist loadfile

miniature: .venv-test/ready  ## the paper's claim in miniature: small models learn from the dataset, and what (about half an hour on two cores)
	.venv-test/bin/python -m benchmarks.miniature

bench: .venv-test/ready  ## what everything costs, as ratios: one table (about half an hour on two idle cores; BENCH=--quick takes minutes)
	.venv-test/bin/python -m benchmarks $(BENCH)

format: .venv-test/ready  ## format the code
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

clean:  ## remove the environments and everything built
	rm -rf .venv .venv-test build dist

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

.venv-test/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --editable '.[test]'
	@touch $@
