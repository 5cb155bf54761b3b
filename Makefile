# Needs only make and Python >= 3.11; everything is installed into .venv.
#   PYTHON=python3.12   the Python that .venv is made with
#   TORCH_INDEX=URL     an extra package index for torch: PyTorch's own index of CPU builds, where the usual index
#                       would bring a CUDA build

PYTHON ?= python3
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)")
INSTALLED := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint types check docs speed faults serving retrieval wheel clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "make %-9s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## train on emoji, index, search; the report is demo-out/report.html
	$(BIN)/spdq demo --out demo-out

# Torch threads that spin while they wait starve each other on shared cores: let them sleep.
test: $(VENV)/dev.stamp ## run all tests (SPDQ_DATA=FOLDER also those on the sets of data/README.md)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(VENV)/dev.stamp ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy --strict
	$(BIN)/mypy

check: lint types test ## lint, types, test

docs: $(VENV)/dev.stamp ## build the documentation site, docs/_build/html/index.html
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs docs/_build/html

speed: $(VENV)/dev.stamp ## race the search against Faiss, up to 10M rows: 20 minutes; bench-out/speed.md
	@mkdir -p bench-out
	$(BIN)/spdq bench speed --out bench-out

faults: $(VENV)/dev.stamp ## break indexes in every way, at full length: a quarter of an hour, as root; bench-out/faults
	@mkdir -p bench-out/faults
	SPDQ_FAULTS=full SPDQ_FAULTS_OUT=$(CURDIR)/bench-out/faults $(BIN)/python -m pytest -q tests/faults tests/distributed/test_sharded_faults.py

serving: $(VENV)/dev.stamp ## ask the server 2,000 things of each kind, well and badly: a quarter of an hour
	SPDQ_SERVING_CASES=2000 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q tests/serving/test_schemathesis.py

retrieval: $(VENV)/dev.stamp ## judge all methods on emoji and the sets of SPDQ_DATA: hours, goes on where it was; bench-out/retrieval
	@test -n "$(SPDQ_DATA)" || { echo "set SPDQ_DATA=FOLDER (data/README.md says what lies there)" >&2; exit 1; }
	@mkdir -p bench-out/retrieval
	@cd bench-out && set -e; spdq="$(CURDIR)/$(BIN)/spdq"; for made in \
		"emoji emoji.h5" \
		"wikipedia $(SPDQ_DATA)/wikipedia wikipedia.h5" \
		"wikipedia --features cnn $(SPDQ_DATA)/wikipedia wikipedia_cnn.h5" \
		"mirflickr $(SPDQ_DATA)/mirflickr1k mirflickr.h5"; do \
		test -e "$${made##* }" || "$$spdq" dataset import $$made; done
	cd bench-out && $(CURDIR)/$(BIN)/spdq bench retrieval emoji.h5 wikipedia.h5 wikipedia_cnn.h5 mirflickr.h5 --out retrieval

wheel: $(BIN)/python ## build dist/spdq-*.whl
	rm -rf build dist *.egg-info
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove all that was made here, .venv too
	rm -rf $(VENV) build dist demo-out bench-out docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find spdq kernels cli benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "SPDQ needs Python >= 3.11, but $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -f $(VENV)/*.stamp
	$(PYTHON) -m venv $(VENV)

# dev contains demo, so its stamp stands for both.
$(VENV)/demo.stamp: $(INSTALLED) | $(BIN)/python
	@echo "Installing SPDQ and what it needs into $(VENV) (once; some minutes with a slow network)"
	$(PIP) -e ".[demo,serve]"
	@touch $@

$(VENV)/dev.stamp: $(INSTALLED) | $(BIN)/python
	@echo "Installing SPDQ and what its tests need into $(VENV) (once; some minutes with a slow network)"
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/demo.stamp
