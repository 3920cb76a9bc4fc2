# make recipe    install what a run needs, then run the default recipe to its report
# make test      install what tests need as well, then run them: what continuous integration runs
# make develop   install what tests need, vLLM's CPU build included, and run nothing
# make bench     the benchmarks that need no file of yours, one after another; README.md in benchmarks/ says which
# make check     lint, then test
# make lint      style, format and types
# make lock      resolve the lock files again; ARGS=--upgrade takes newer versions
# make clean     remove the environment and caches; runs stay
#
# ARGS=...             more arguments: make recipe ARGS="seed=1", make test ARGS=tests/rl_core/rewards; make bench
#                      ARGS="rollouts checkpoint" runs these two; make test ARGS="-n 0 -x" in one process, to the first failure
# PYTHON=...           the Python to build .venv with; 3.11 or newer
# TORCH_INDEX_URL=...  take torch from this index, for example the one with its CPU builds

.DELETE_ON_ERROR:
.PHONY: recipe test develop bench check lint lock clean

BENCHMARKS := logprobs rollouts evaluation weight_sync checkpoint accelerator
VENV := .venv
BIN := $(VENV)/bin
SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.13 python3.12 python3.11
ifndef PYTHON
USABLE := $(foreach name,$(CANDIDATES),$(shell $(name) -c '$(SUPPORTED)' 2>/dev/null && echo $(name)))
PYTHON := $(firstword $(USABLE) python3)
endif

# Byte code is left to the first import of each module, since most of what is installed is never imported. It has to
# be kept then: without it each process of a run starts four seconds later.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --no-compile
LOCKED := $(INSTALL) --quiet --no-deps --require-hashes

recipe: $(VENV)/.recipe
	$(BIN)/python -m flows.deepscaler_recipe $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=8 --dist=loadfile --no-loadscope-reorder $(ARGS)

develop: $(VENV)/.test

bench: $(VENV)/.test
	for name in $(or $(ARGS),$(BENCHMARKS)); do $(BIN)/python -m benchmarks.$$name || exit; done

check: lint
	$(MAKE) test

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.created:
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { \
	    echo "error: Python 3.11 or newer is needed; $(PYTHON) is: $$($(PYTHON) --version 2>&1)" >&2; \
	    echo "       name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The lock first: torch then finds its own dependencies in place, and brings what only a CUDA build needs.
RECIPE_LOCKS := requirements/orchestration.txt requirements/cpu.txt
$(VENV)/.recipe: $(VENV)/.created pyproject.toml $(RECIPE_LOCKS) requirements/torch.txt
	@echo "Installing what a run needs into $(VENV) (a minute or two)"
	$(LOCKED) $(RECIPE_LOCKS:%=--requirement %)
	$(INSTALL) $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) --requirement requirements/torch.txt
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.recipe requirements/test.txt
	@echo "Installing what tests need into $(VENV) (a minute)"
	$(LOCKED) --requirement requirements/test.txt
	@touch $@

# uv is used for this alone, from an environment of its own.
lock:
	tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(PYTHON) -m venv "$$tools" && \
	"$$tools/bin/python" -m pip install --quiet uv==0.13.8 && $(PYTHON) requirements/lock.py "$$tools/bin/uv" $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
