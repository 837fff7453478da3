# `make help` says what there is. setup_env.py fills .venv; this file only calls.

SHELL := /bin/sh
BIN := .venv/bin
# Spinning OpenMP threads cost seven times the CPU on a shared machine; one thread a process is what the workflow uses.
OMP_NUM_THREADS ?= 1
OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS OMP_WAIT_POLICY
ARGS ?=
# Test processes: never more than 4, each of them imports torch.
TEST_JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$(( n < 4 ? n : 4 )))

# Run a script of ours with PYTHON, or else with the newest Python of 3.11 to 3.13 on PATH.
define with_python
	@set -- python3.13 python3.12 python3.11 python3 python; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; fi; \
	for p in "$$@"; do \
		if "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
		then exec "$$p" $(1); fi; \
	done; \
	echo "setup: no Python of 3.11 to 3.13 found (tried $$*): install one, or say PYTHON=/path/to/python" >&2; exit 1
endef

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev test reproduce lint lock clean

help:
	@echo "make reproduce    set up .venv, run the tour, say where the report is (no GPU, no account)"
	@echo "make test         set up .venv, run the whole test suite (ARGS='-k word' for a part of it)"
	@echo "make setup        only set up .venv, where it is missing or a lock changed"
	@echo "make lint         ruff, mypy, snakefmt, snakemake --lint"
	@echo "make lock         make the locks again from requirements*.in (UPGRADE=1: newer versions)"
	@echo "make clean        remove .venv and caches; results/ and data/ stay"
	@echo "TORCH=cpu|cuda    which torch (default: what .venv holds, else cuda where an NVIDIA driver answers)"
	@echo "PYTHON=path       another Python of 3.11 to 3.13 (default: the newest on PATH)"

setup:
	$(call with_python,setup_env.py)

setup-dev:
	$(call with_python,setup_env.py --dev)

test: setup-dev
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(ARGS)

reproduce: setup
	$(BIN)/python -m joulemark reproduce $(ARGS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

lock:
	$(call with_python,.ci/relock.py)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './results/*' -prune -exec rm -rf {} +
