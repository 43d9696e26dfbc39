# Everything runs in .venv, which is made from $(PYTHON) on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Options of pytest, e.g. make pytest ARGS='-k fold -x'
ARGS ?=
# Processes that run tests; 0 runs them in one, where a debugger works
JOBS ?= 2
# Models and labelled samples for make bench, laid out as docs/benchmarks.md says
DATA ?= ../shared/data

NATIVE := pyproject.toml CMakeLists.txt $(wildcard cpp_ext/kernels/*) \
  $(wildcard $(addprefix cpp_ext/runner/,CMakeLists.txt include/* src/* engines/* tool/*))
CPP := $(wildcard cpp_ext/*/*.cpp cpp_ext/*/*.hpp cpp_ext/runner/*/*.cpp cpp_ext/runner/*/*.[ch])
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format types layers pytest bench docs-passes wheel \
  runner runner-aarch64 clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | \
	  while read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

install: $(VENV)/.installed ## make .venv and install bmopt into it

demo: $(VENV)/.installed ## compile the shipped model to INT8, measure both, draw the report
	$(BIN)/bmopt demo -o demo-artifact

test: lint types layers pytest ## all checks and tests, as CI runs them

lint: $(VENV)/.tools ## ruff and clang-format, nothing changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(VENV)/.tools ## rewrite Python and C++ in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# NumPy's stubs decide what mypy says: those pinned with it need Python 3.11.
types: $(VENV)/.tools ## mypy --strict
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; \
	  then echo $(BIN)/mypy --strict; $(BIN)/mypy --strict; \
	  else echo 'types: left out on Python 3.10'; fi

layers: $(VENV)/.tools ## who may import whom
	$(BIN)/lint-imports --no-logo

pytest: $(VENV)/.tools ## the tests alone; ARGS='-k name' selects
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --durations=10 $(ARGS)

bench: $(VENV)/.bench ## measure what docs/benchmarks.md tells; DATA=folder, takes hours
	mkdir -p build/bench
	$(BIN)/python benchmarks/simplify.py $(DATA)/models/*.onnx $(DATA)/zoo/models/*.onnx \
	  --json build/bench/simplify.json
	$(BIN)/python benchmarks/calibration.py --data $(DATA) --json build/bench/calibration.json
	$(BIN)/python benchmarks/ort_int8.py --data $(DATA) --json build/bench/ort_int8.json
	$(BIN)/python benchmarks/zoo_compile.py --data $(DATA) --json build/bench/zoo_compile.json
	$(BIN)/python benchmarks/tensorrt_audit.py --data $(DATA) --json build/bench/tensorrt_audit.json
	$(BIN)/python benchmarks/tensorrt_lint.py --data $(DATA) --json build/bench/tensorrt_lint.json
	$(BIN)/python benchmarks/tensorrt_accuracy.py --data $(DATA) \
	  --json build/bench/tensorrt_accuracy.json
	$(BIN)/python benchmarks/overhead.py --json build/bench/overhead.json
	$(BIN)/python benchmarks/verdicts.py --json build/bench/verdicts.json
	$(BIN)/python benchmarks/budgets.py --data $(DATA) --json build/bench/budgets.json
	$(BIN)/python benchmarks/accuracy.py --data $(DATA) --ablation \
	  --json build/bench/accuracy.json
	$(BIN)/python benchmarks/peers/run.py --data $(DATA) --json build/bench/peers.json

docs-passes: $(VENV)/.installed ## write docs/passes.md from the passes' docstrings
	$(BIN)/python scripts/pass_pages.py docs/passes.md

wheel: $(VENV)/.installed ## build a wheel into dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

# Beside the extension, where bmopt package looks; ORT_ROOT says where ONNX Runtime's header is, and
# TVM_FFI_ROOT where TVM's are if bmopt[tvm] is not in .venv.
runner: $(VENV)/.installed ## build the native runner of bundles and install it
	scripts/install_runner.sh $(BIN)/python build/runner

runner-aarch64: $(VENV)/.installed ## the same for AArch64, with g++-aarch64-linux-gnu
	scripts/install_runner.sh $(BIN)/python build/runner-aarch64 \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/cpp_ext/runner/toolchains/aarch64-linux-gnu.cmake

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist demo-artifact .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache

$(VENV)/.bench: $(VENV)/.tools
	@echo "installing the peers into $(VENV)"
	@$(PIP) install --editable '.[bench]'
	@touch $@

$(VENV)/.tools: $(NATIVE) | $(BIN)/python
	@scripts/check_build_tools.sh $(BIN)/python
	@echo "building bmopt and installing it with the checkers into $(VENV): a minute or two"
	@$(PIP) install --editable '.[dev,rtx,openvino,tvm]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed: $(NATIVE) | $(BIN)/python
	@scripts/check_build_tools.sh $(BIN)/python
	@echo "building bmopt and installing it into $(VENV): a minute or two"
	@$(PIP) install --editable .
	@touch $@

$(BIN)/python:
	@scripts/make_venv.sh $(PYTHON) $(VENV)
