# Needs python3 (3.11 or newer) and make; everything else is set up in .venv and .nox.
PYTHON ?= python3
NOX := .venv/bin/nox
ARGS ?=

.PHONY: help demo gallery test test-rest test-all lint typing docs bench clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

demo: $(NOX) ## see what filecolumn does; your own files: make demo ARGS="one.pdf two.png"
	@$(NOX) -s demo -- $(ARGS)

gallery: $(NOX) ## serve the example gallery on http://127.0.0.1:8000
	@$(NOX) -s gallery -- $(ARGS)

test: $(NOX) ## run the quick tests, in minutes; for pytest: make test ARGS="-k savepoint"
	@$(NOX) -s tests -- $(ARGS)

test-rest: $(NOX) ## run what `make test` leaves out: servers, browsers, faults in number
	@$(NOX) -s tests-rest -- $(ARGS)

test-all: test test-rest ## run every test

lint typing docs bench: $(NOX)
	@$(NOX) -s $@ -- $(ARGS)
lint: ## check style, format, spelling, change log
typing: ## check the types with mypy and pyright
docs: ## build the documentation into docs/_build/html
bench: ## measure speed and memory against others; in a minute: make bench ARGS="--quick"

clean: ## remove what the other commands made
	rm -rf .venv .nox build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(NOX): constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "filecolumn needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt nox
	@touch $@
