# Everything a newcomer needs: `make demo` and `make test`. Both build .venv on first use, from the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# Bytecode is compiled on all cores, which pip does on one, except packages' tests, whose files are not all Python, and the rest
# of what hardly anything imports.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
RARE := /tests?/|/(babel|databricks|fontTools|mlflow|mypyc?|networkx|pip|setuptools)/
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '$(RARE)' .venv/lib || true

demo: .venv/.demo
	$(BIN)/hourglass demo

# Two processes of one thread each: two of two threads would wait for each other.
test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/proselint check --config tools/prose.json README.md CONTRIBUTING.md docs
	$(BIN)/python tools/document.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir site

# The documentation as a site, without the network, in site/; a warning is an error.
site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir site

docs: .venv/.dev
	$(BIN)/python tools/document.py

# The share of lines that the tests run, without the processes they start.
coverage: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered

# An environment of its own for exported models, without torch: its size, its start, and the same files. Under a minute.
runtime: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/runtime.py

# Source distribution and wheel, the wheel in an empty environment of its own.
smoke: .venv/.dev
	$(BIN)/python tools/smoke.py

# The tests with the oldest versions that the base install allows, in an environment of their own: PyTorch with CUDA, 7 GB; half an hour.
oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint tools/oldest.txt --editable '.[test]'
	OMP_NUM_THREADS=1 HOURGLASS_OTHER_VERSIONS=1 .venv-oldest/bin/python -m pytest --numprocesses 2 --dist worksteal

# The figures of docs/results/ and docs/chapter/: hours on two cores. Photographs and tables are read from HOURGLASS_DATA.
results: .venv/.demo
	$(PIP_INSTALL) --editable '.[demo,peers]'
	$(BIN)/hourglass chapter --data mnist -o docs/chapter
	$(BIN)/hourglass evaluate --suite denoise --data mnist -o docs/results
	$(BIN)/hourglass evaluate --suite uses --data mnist -o docs/results
	$(BIN)/hourglass evaluate --suite rate --data mnist -o docs/results
	$(BIN)/hourglass evaluate --suite photos -o docs/results/photos
	$(BIN)/hourglass evaluate --suite tables -o docs/results
	$(BIN)/hourglass evaluate --suite surfaces -o docs/results
	$(BIN)/hourglass evaluate --suite alarms -o docs/results

# docs/results/explorer.md and the pictures of the explorer: three minutes, with Chromium on the PATH.
explorer: .venv/.dev
	$(BIN)/python tools/explorer.py

# docs/reliability.md: every promise of SECURITY.md kept some thousand times, in about half an hour.
reliability: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/reliability.py

# docs/service.md: about seven minutes on two cores that do nothing else.
service: .venv/.dev
	$(BIN)/python tools/service.py

# docs/scaling.md: about half an hour on two cores that do nothing else, 8 GB of disk.
scaling: .venv/.dev
	$(BIN)/python tools/scaling.py

# docs/performance.md: about twenty minutes on two cores that do nothing else.
performance: .venv/.dev
	$(BIN)/python -m benchmarks --data mnist --rounds 3 -o docs

# The pip that comes with older Pythons takes twice as long to install the packages.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hourglass needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --upgrade pip

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP_INSTALL) --editable '.[demo]'
	$(COMPILE)
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP_INSTALL) --editable '.[dev]'
	$(COMPILE)
	touch $@ .venv/.demo

clean:
	rm -rf .venv .venv-oldest runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: demo test check coverage docs site runtime smoke oldest results explorer reliability scaling performance service clean
