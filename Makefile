# The names in this file are promised in the README; see `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .cache/tools
ARGS ?=
# Tests start the program a hundred times: compiled each time, it would take twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test proof check format profiles mappings policies locale bench growth cost endurance sync-cost sync-scale sync-others watch-growth identity evidence foreign-hospital mutants docs pictures captures lock wheel sbom clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

# One stamp per kind of install: a command installs only what it needs, and only when something changed.
# Exactly the files whose hashes are in requirements/; pip's own configuration says from where.
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
$(VENV)/.base: pyproject.toml requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit("fhir-coprod needs Python 3.11 or newer; set PYTHON=python3.12 or the like." if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: $(VENV)/.base requirements/test.txt
	@$(PIP) --require-hashes -r requirements/test.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.test requirements/dev.txt
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.evidence: $(VENV)/.base requirements/evidence.txt
	@$(PIP) --require-hashes -r requirements/evidence.txt
	@touch $@

# Tools that fhir-coprod neither runs nor tests with have an environment of their own.
$(TOOLS)/.tools: requirements/tools.txt
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@touch $@

demo: $(VENV)/.base  ## the main job on embedded data, then endpoint and pages on port 8000 (ARGS=--once: print and end)
	@$(BIN)/fhir-coprod demo $(ARGS)

test: $(VENV)/.test  ## all tests; names the optional peers it skipped
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

NONE := 5# pytest's exit code when what ARGS names has no test of that kind
proof: $(VENV)/.test  ## long proofs: fuzz, kill loops, mutants (PROOF_SIZE=ci for the size CI uses)
	@failed=0; \
	$(BIN)/python -m pytest -m "proof and not alone" -n 2 --dist loadfile $(ARGS) || test $$? -eq $(NONE) || failed=1; \
	$(BIN)/python -m pytest -m "proof and alone" $(ARGS) || test $$? -eq $(NONE) || failed=1; \
	exit $$failed

check: $(VENV)/.dev  ## lint, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev  ## put the code into the house format
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

profiles: $(VENV)/.base  ## compile profiles/ (FHIR Shorthand) into fhir_coprod/_data
	@$(BIN)/python scripts/build_profiles.py $(ARGS)

mappings: $(VENV)/.base  ## check mappings/ (TOML) against R4 and compile it into fhir_coprod/_data
	@$(BIN)/python scripts/build_mappings.py $(ARGS)

policies: $(VENV)/.base  ## check policies/ (TOML) and carry them into fhir_coprod/_data
	@$(BIN)/python scripts/build_policies.py $(ARGS)

locale: $(VENV)/.base  ## check locale/ (words to patients) and compile it into fhir_coprod/_data
	@$(BIN)/python scripts/build_locale.py $(ARGS)

bench: $(VENV)/.test  ## speed, each figure beside a reference in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

identity: $(VENV)/.test  ## how safely and how completely one person's records are found, on drawn people: writes docs/identity.md
	@$(BIN)/python -m benchmarks.identity $(ARGS)

growth: $(VENV)/.test $(VENV)/.evidence  ## what each operation costs as the store grows to a million resources: writes docs/growth.md
	@$(BIN)/python -m benchmarks.growth $(ARGS)

cost: $(VENV)/.test  ## looks for inputs whose cost grows faster than they do: writes docs/cost.md (ARGS=--tiny: in seconds)
	@$(BIN)/python -m benchmarks.cost_search $(ARGS)

endurance: $(VENV)/.test $(VENV)/.evidence  ## an hour of mixed load by 48 clients on PostgreSQL, and what grows meanwhile: writes docs/endurance.md (ARGS=--tiny: in seconds)
	@$(BIN)/python -m benchmarks.endurance $(ARGS)

sync-cost: $(VENV)/.test  ## what a first sync costs beside bare paging, and what a create over HTTP takes meanwhile (ARGS=--tiny: in seconds)
	@$(BIN)/python -m benchmarks.sync_cost $(ARGS)
	@$(BIN)/python -m benchmarks.during_sync $(ARGS)

sync-scale: $(VENV)/.test  ## what syncs of up to a million records take, first and with nothing new: writes docs/sync-scale.md (ARGS=--tiny: in seconds)
	@$(BIN)/python -m benchmarks.sync_scale $(ARGS)

sync-others: $(VENV)/.test  ## the same records read by a sync, by smart-fetch and by a fhirpy loop, also from a server that fails now and then (ARGS=--tiny: in seconds)
	@$(BIN)/python -m benchmarks.sync_others $(ARGS)

watch-growth: $(VENV)/.test $(VENV)/.evidence  ## what the live watch costs as open referrals grow to a million, and orders of one patient to 10,000: writes docs/watch-growth.md and docs/watch-orders.md
	@$(BIN)/python -m benchmarks.watch_growth $(ARGS)
	@$(BIN)/python -m benchmarks.watch_orders $(ARGS)

evidence: $(VENV)/.evidence  ## how well the watch finds what stalls, in simulation: writes docs/evidence.md (20 minutes on two cores)
	@$(BIN)/python -m evidence $(ARGS)

foreign-hospital: $(VENV)/.test  ## referrals planted in a hospital that nobody here wrote, clean and dirty: writes docs/foreign-hospital.md (needs the peers clinosim and IPS)
	@$(BIN)/python -m evidence.foreign $(ARGS)

mutants: $(VENV)/.test  ## whether the tests notice small faults: 400 mutants, a share killed, and what survived
	@$(BIN)/python -m mutation $(ARGS)

docs: $(VENV)/.base  ## write docs/profiles.md and the table of rules in docs/watch.md anew from package and policy
	@$(BIN)/python scripts/build_profile_docs.py
	@$(BIN)/python scripts/build_rule_table.py
	@$(BIN)/python scripts/licences.py

pictures: $(VENV)/.base  ## the two pictures of the README, from the demo (needs Chromium)
	@$(BIN)/python scripts/make_pictures.py

captures: $(VENV)/.base  ## docs/captures.md and its picture: what a night operator sees, from the demo (needs Chromium)
	@$(BIN)/python scripts/make_captures.py

lock: $(TOOLS)/.tools  ## write requirements/ from pyproject.toml (ARGS=--upgrade: newer versions, of all or of those named)
	@$(TOOLS)/bin/python scripts/lock.py $(ARGS)

wheel: $(VENV)/.base  ## what to install elsewhere without this folder: dist/ with the wheel, its requirements by hash, and checksums
	@rm -rf dist && mkdir -p dist
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@cp requirements/run.txt dist/fhir-coprod-requirements.txt
	@cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

sbom: $(TOOLS)/.tools  ## install as the README says into an empty environment, and write what is in it: build/fhir-coprod.cdx.json
	@rm -rf build/installed && mkdir -p build && $(PYTHON) -m venv build/installed
	@build/installed/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@build/installed/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation .
	@build/installed/bin/fhir-coprod --version >/dev/null
	@build/installed/bin/python scripts/licences.py --check
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible --validate -o build/fhir-coprod.cdx.json build/installed/bin/python
	@build/installed/bin/python scripts/licences.py --sbom build/fhir-coprod.cdx.json

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) $(TOOLS) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
