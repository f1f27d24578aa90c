# run    predict events/sample.fasta on the embedded cloud, setting everything up on the way
# test   the tests, but for those that take long
# test-all  these, and those that take long: very large files, a retraining that fails in every way
# simulate-retraining  double starts and crashes of the state machine: SEED=17 or N=5000
# simulate  the functions under faults: make simulate SEED=17 replays one schedule, N=10000 [FIRST=5000] plays that many
# deploy  to AWS, with a model in service and the sample predicted: make deploy [STACK=name] [PARAMETERS="Name=value …"]
# check  lint, types, security, template, secrets
# house  the rooms of the project: files, lines, and who imports whom
# bench  what is claimed of speed, measured: one JSON object a line
# model  train the small model again: make model DEEPLOC=deeploc_data.fasta
#        [PROKARYOTES="ecoli.fasta bsubtilis.faa.gz"]  bacteria and archaea, for it to tell; none are needed
# lock   write the locks again after a change of pyproject.toml or locks/*.in
# sbom   bills of materials in build/sbom: of what travels to Lambda, and of this environment
# clean  stop the cloud and remove what the other targets made
#
# Python 3.11 to 3.14 with venv is all that must be there; choose one with `make PYTHON=python3.13 run`.
# Without an NVIDIA GPU, PyTorch's CPU build is taken from TORCH_INDEX, unless pip is configured to look elsewhere;
# `make TORCH_INDEX= run` leaves the choice to pip, and another index that is named is asked in any case.

PYTHON ?= python3
WORKERS ?= 3
# The long tests wait more than they compute.
LONG_WORKERS ?= 4
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)",/\1/p' pyproject.toml)
LOCKED := --no-deps --require-hashes --requirement
# jsonschema imports rfc3987-syntax where it is there, which compiles a grammar for a second: in every cloud that deploys.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-package torch --no-emit-package rfc3987-syntax

.PHONY: run test test-all simulate simulate-retraining deploy check house bench model lock sbom clean
.DELETE_ON_ERROR:
# Where this is set, each of the many processes that a test starts compiles the project anew: a tenth of all its time.
unexport PYTHONDONTWRITEBYTECODE

run: .venv/run.stamp
	@$(BIN)/protloc predict events/sample.fasta --table

test: .venv/develop.stamp
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

# The others need shared data, Chromium, the SAM CLI or environments of AWS's containers; `pytest -m soak -s` is run by hand.
test-all: test
	$(BIN)/python -m pytest --numprocesses $(LONG_WORKERS) --durations=10 \
	  -m "(slow or large or failures) and not (shared or page or sam or toolkit or soak)"

simulate: .venv/develop.stamp
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--schedules $(or $(N),1000) --first $(or $(FIRST),0))

simulate-retraining: .venv/develop.stamp
	@$(BIN)/python -m tests.retraining $(if $(SEED),--seed $(SEED),--schedules $(or $(N),1000) --first $(or $(FIRST),0))

# On AWS, or wherever AWS_ENDPOINT_URL points. The functions run on the Python that can be built for here: 3.13 if
# it is at hand, else the one of .venv. What is there already is brought up to date.
STACK ?= protloc
SAM ?= build/sam/bin/sam
RUNTIME ?= $(or $(shell python3.13 -c 'print("python3.13")' 2>/dev/null),$(shell $(BIN)/python -c \
  'import sys; print("python%d.%d" % sys.version_info[:2])'))
deploy: export SAM_CLI_TELEMETRY ?= 0
deploy: .venv/run.stamp $(if $(filter build/%,$(SAM)),build/sam.stamp)
	@$(BIN)/protloc doctor --stack $(STACK) --before-deployment $(PARAMETERS)
	$(BIN)/protloc adopt --stack $(STACK)
	PATH="$$PATH:$$(dirname $$(readlink -f $(BIN)/python))" $(SAM) build --build-dir build/aws --parameter-overrides FunctionRuntime=$(RUNTIME) $(PARAMETERS)
	$(SAM) deploy$(if $(AWS_REGION), --region $(AWS_REGION)) --config-file $(CURDIR)/samconfig.toml --template-file build/aws/template.yaml --stack-name $(STACK) \
	  --parameter-overrides FunctionRuntime=$(RUNTIME) $(PARAMETERS)
	$(BIN)/protloc models add model/default --stack $(STACK) --if-none
	$(BIN)/protloc predict events/sample.fasta --stack $(STACK) --table --output build/sample.$(STACK).tsv
	@echo "Deployed. Your own proteins: $(BIN)/protloc predict FILE --stack $(STACK)"

check: .venv/develop.stamp build/checkov.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive functions model protloc benchmarks locks
	$(BIN)/python -m tests.template.rendering build/templates
	$(BIN)/cfn-lint --config-file .ci/cfn-lint.yaml --template template.yaml build/templates/*.json
	build/checkov/bin/checkov --config-file .ci/checkov.yaml --file template.yaml
	cp .ci/secrets.json build/secrets.json  # which the hook rewrites, and then ends with 3, where lines have moved
	$(BIN)/detect-secrets-hook --baseline build/secrets.json $$(git ls-files) || test $$? -eq 3

house: .venv/develop.stamp
	@$(BIN)/python -m tests.house

bench: .venv/develop.stamp
	@$(BIN)/python -m benchmarks $(BENCH)

# Three recipes, each learned twice: without the validation proteins, on which the model is judged and calibrated,
# and with them, which is what then answers. Two side by side on one core each; a run that is stopped goes on.
MEMBER = OMP_NUM_THREADS=1 $(BIN)/python -m model.train --training '$(DEEPLOC)' --validation build/model/validation.txt \
  --epochs 25 --token-budget 16384
RECIPES = 1 2 3
RECIPE_1 = --seed 1
RECIPE_2 = --seed 2 --dropout 0.5 --mutation-rate 0.15 --weight-decay 0.1 --training-residues 800
RECIPE_3 = --seed 3 --mutation-rate 0.15 --weight-decay 0.1
model: .venv/run.stamp
	@test -f '$(DEEPLOC)' || { echo "expected DEEPLOC=path of DeepLoc's FASTA file, found '$(DEEPLOC)'" >&2; exit 2; }
	mkdir -p build/model
	$(BIN)/python -m model.proteins.held_out '$(DEEPLOC)' build/model/validation.txt
	$(MAKE) --jobs 2 $(RECIPES:%=build/model/judged-%) $(RECIPES:%=build/model/final-%)
	$(BIN)/python -m model.ensemble build/model/ensemble $(RECIPES:%=build/model/judged-%) \
	  --final $(RECIPES:%=build/model/final-%) --labelled '$(DEEPLOC)' --validation build/model/validation.txt \
	  --model-version small-$(shell date -u +%Y-%m-%d)-fp32
	$(if $(PROKARYOTES),$(BIN)/python -m model.detection build/model/ensemble --labelled '$(DEEPLOC)' \
	  $(PROKARYOTES:%=--prokaryotes '%'))
	$(BIN)/python -m model.precision build/model/ensemble build/model/small --labelled '$(DEEPLOC)' \
	  --validation build/model/validation.txt --model-version small-$(shell date -u +%Y-%m-%d)
	@echo "The model is in build/model/small; 'protloc models add build/model/small' serves it."
build/model/judged-%:
	mkdir -p $@-checkpoints
	$(MEMBER) $(RECIPE_$*) --model-dir $@.part --checkpoint-dir $@-checkpoints && mv $@.part $@
build/model/final-%:
	mkdir -p $@-checkpoints
	$(MEMBER) $(RECIPE_$*) --everything --model-dir $@.part --checkpoint-dir $@-checkpoints && mv $@.part $@

lock: .venv/develop.stamp
	$(LOCK) pyproject.toml --extra test --extra check --extra lora --extra sagemaker --output-file locks/develop.txt
	$(LOCK) pyproject.toml --constraint locks/develop.txt --output-file locks/run.txt
	$(LOCK) locks/functions.in --output-file functions/requirements.txt
	$(LOCK) locks/checkov.in --output-file locks/checkov.txt
	$(LOCK) locks/sam.in --output-file locks/sam.txt

SBOM := build/sbom
SBOM_CHECK ?= --validate
sbom: .venv/develop.stamp
	mkdir -p $(SBOM)
	$(BIN)/cyclonedx-py requirements functions/requirements.txt --output-file $(SBOM)/functions.json
	$(BIN)/cyclonedx-py environment $(SBOM_CHECK) $(BIN)/python --pyproject pyproject.toml \
	  --output-file $(SBOM)/environment.json

clean:
	-@test ! -x $(BIN)/protloc || $(BIN)/protloc down --erase --yes
	rm -rf .venv .protloc build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch is installed first and alone; locks/environment.py says why, and what is missing. Everything else is
# installed as locked, by hash and without looking further, so no later step can replace it.
CHOSEN = $(if $(filter file,$(origin TORCH_INDEX)),,--chosen)
.venv/torch.stamp: pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "protloc: expected Python 3.11 to 3.14 as '$(PYTHON)', found none:" \
	  "name one, e.g. make PYTHON=python3.13 run" >&2; exit 1; }
	@$(PYTHON) locks/environment.py .venv --torch $(TORCH) --index '$(TORCH_INDEX)' $(CHOSEN)
	@touch $@

.venv/run.stamp: pyproject.toml locks/run.txt .venv/torch.stamp
	$(PIP) install $(LOCKED) locks/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/develop.stamp: locks/develop.txt .venv/run.stamp
	@$(BIN)/python locks/environment.py .venv
	$(PIP) install $(LOCKED) locks/develop.txt
	@touch $@

# In an environment of its own: it needs another boto3.
build/checkov.stamp: locks/checkov.txt
	$(PYTHON) -m venv build/checkov
	build/checkov/bin/python -m pip --disable-pip-version-check --quiet install $(LOCKED) locks/checkov.txt
	@touch $@

# In an environment of its own, too: its pins clash with ours.
build/sam.stamp: locks/sam.txt
	$(PYTHON) -m venv build/sam
	build/sam/bin/python -m pip --disable-pip-version-check --quiet install $(LOCKED) locks/sam.txt
	@touch $@
