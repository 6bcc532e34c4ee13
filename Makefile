# Everything that people do with this repository. `make` lists the targets.
#
# The first target that needs a program beyond cargo, Terraform and Python installs it below target/local/.

PYTHON ?= python3
LOCAL := $(PYTHON) -m local
DEMO_OPTIONS = $(if $(VIDEO),--video '$(VIDEO)') $(if $(START),--start '$(START)') $(if $(END),--end '$(END)')

.DEFAULT_GOAL := help
.PHONY: help demo up down status logs test lint unit snapshots e2e chaos hostile fuzz browser judge bench fmt package clean

help: ## List the targets
	@echo 'Usage: make TARGET'
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-11s %s\n' "$$name" "$$text"; done

demo: ## Cut a clip on the local stack and show everything that happens [VIDEO=path START=time END=time]
	@$(LOCAL) demo $(DEMO_OPTIONS)

up: ## Bring the local stack up, or up to date, and leave it running
	@$(LOCAL) up

down: ## End the local stack
	@$(LOCAL) down

status: ## Show what runs of the local stack, and where
	@$(LOCAL) status

logs: ## Print logs [NAME=a function, ministack, mongod, mediaconvert or supervisor]
	@$(LOCAL) logs $(NAME)

test: lint unit e2e ## Check everything: lint, unit, then e2e
	@echo 'passed: lint, unit, e2e'

lint: ## Check formatting, clippy, dependencies, Terraform, Python and the state machine's definition
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(LOCAL) check-dependencies
	$(LOCAL) check-terraform
	$(LOCAL) check-definition
	$(LOCAL) check-python

unit: ## Run the tests that need no stack
	$(LOCAL) run --programs -- cargo test --workspace --no-default-features --locked --quiet
	$(LOCAL) run --programs -- target/local/venv/bin/python -m unittest discover --quiet --start-directory local/tests --top-level-directory .

snapshots: ## Rewrite the tests' snapshots; git diff shows what changed
	@find cli crates functions -path '*/tests/snapshots/*' -type f -delete
	UPDATE_EXPECT=1 $(LOCAL) run --programs -- cargo test --workspace --no-default-features --locked --quiet snapshot_of

e2e: ## Run the tests on the local stack
	$(LOCAL) run -- cargo test --workspace --no-default-features --locked --quiet --test e2e --test long_clips --test edits --test recordings --test cli --test console --test documented_commands --test rerun --test hostile_stack --test chaos --test workflow_reports

chaos: ## Send requests while everything they need breaks, and check that each ends once [SEED=1 REQUESTS=500]
	CLIPFLOW_CHAOS_SEED=$(or $(SEED),1) CLIPFLOW_CHAOS_REQUESTS=$(or $(REQUESTS),500) $(LOCAL) run -- \
		cargo test --workspace --no-default-features --locked --quiet --test chaos -- --nocapture

fuzz: ## Fuzz what reads files and requests of others with cargo-fuzz [SECONDS=60 for each target; TARGET=mp4 or another]
	@$(LOCAL) fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(TARGET),--target $(TARGET))

hostile: ## Send files and requests that mean harm through the functions, then the worst through the stack [SEED=1 COUNT=1000 ONLY=text]
	@# Built like the tests, so that nothing is compiled twice.
	@cargo test --workspace --no-default-features --locked --quiet --test hostile --no-run
	@$(LOCAL) run --programs -- $${CARGO_TARGET_DIR:-target}/debug/hostile $(or $(SEED),1) $(or $(COUNT),1000) $(if $(ONLY),'$(ONLY)')
	@$(if $(ONLY),,CLIPFLOW_HOSTILE=all $(LOCAL) run -- cargo test --workspace --no-default-features --locked --quiet --test hostile_stack)

browser: ## Show clips and the console in headless Chromium (Debian's packages chromium and chromium-driver); pictures go to target/browser/
	CLIPFLOW_CHROMIUM=$(or $(CHROMIUM),chromium) $(LOCAL) run --programs -- \
		cargo test --workspace --no-default-features --locked --quiet --test mp4 browser
	@$(LOCAL) install-axe
	CLIPFLOW_CHROMIUM=$(or $(CHROMIUM),chromium) CLIPFLOW_CHROMEDRIVER=$(or $(CHROMEDRIVER),chromedriver) $(LOCAL) run -- \
		cargo test --workspace --no-default-features --locked --quiet --test console browser

judge: ## Show smart cuts of HEVC to a second decoder, libde265 (Debian's package libde265-examples) [DEC265=program]
	CLIPFLOW_DEC265=$(or $(DEC265),libde265-dec265) $(LOCAL) run --programs -- \
		cargo test --workspace --no-default-features --locked --quiet --test mp4 judge

bench: ## Measure the promised numbers, compare them with their limits and write docs/performance.md [ONLY='bytes copy …'; ONLY=--help lists them]
	@$(LOCAL) package
	@$(LOCAL) peer
	@# Built together with the functions, so that all share their dependencies.
	@cargo build --release --locked --quiet --workspace --exclude=cli --exclude=tests --exclude=hostile --bins
	@cargo build --release --locked --quiet --package=cli --no-default-features
	@$(LOCAL) run --programs -- $${CARGO_TARGET_DIR:-target}/release/bench $(ONLY)

fmt: ## Format Rust, Python and Terraform
	cargo fmt --all
	$(LOCAL) format-python
	env -u TF_CLI_CONFIG_FILE terraform fmt -recursive .

package: ## Compile the functions and pack them for Lambda, in target/lambda/ [ARCHITECTURE=x86_64 or arm64]
	@$(LOCAL) package $(if $(ARCHITECTURE),--architecture '$(ARCHITECTURE)')

clean: down ## Remove everything that was built, installed or left
	cargo clean
	rm -rf target tests/asl/node_modules
