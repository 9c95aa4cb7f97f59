# What a developer types. Targets are documented by the `##` comment on their
# line; `make` alone prints them.

.DEFAULT_GOAL := help

# Tools are pinned in tools.mod, apart from the program's own dependencies, and
# built by Go on first use into its build cache. To move one to a new version:
#   go get -modfile=tools.mod -tool <path>@<version>
TOOL := go tool -modfile=tools.mod
LINT := $(TOOL) golangci-lint

# How long the tests of one package may take; how long each fuzz target runs.
TIMEOUT  ?= 20m
FUZZTIME ?= 30s

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: postgres ## submit a sample menu and watch its eight stages fill in
	@go run ./cmd/kondate demo

.PHONY: run
run: postgres ## run everything in one process until interrupted
	@go run ./cmd/kondate serve

.PHONY: up
up: ## start the production shape with Docker Compose (docs/deploy.md); it needs .env
	@[ -f .env ] || { echo 'Make .env first: cp deploy/example.env .env, and fill it in (docs/deploy.md).' >&2; exit 1; }
	docker compose up --build --detach --wait

.PHONY: down
down: ## stop it; what it stored stays
	docker compose down

.PHONY: test
test: ## run every test under the race detector, in a new order each time
	@.ci/need postgres cc strace node python chromium
	@go test -race -shuffle=on -timeout $(TIMEOUT) ./...

.PHONY: race
race: test ## the same as test: all tests always run under the race detector

.PHONY: check
check: ## all that needs no running: format, modules, vet, lint, import rules, dish tables, generated files, alerts
	@echo '== format' && $(LINT) fmt --diff
	@echo '== modules' && go mod tidy -diff
	@echo '== vet' && go vet ./...
	@echo '== lint' && $(LINT) config verify && $(LINT) run ./...
	@echo '== import rules' && go test .
	@echo '== dish tables' && go test ./domain/cuisine -run 'Validates|Texts|Refuses'
	@echo '== generated files' && .ci/generated
	@echo '== alerts and dashboards' && .ci/alerts

.PHONY: fmt
fmt: ## format the code
	@$(LINT) fmt

.PHONY: lint
lint: ## run the linters (the first time builds them: about two minutes)
	@$(LINT) run ./...

.PHONY: bench
bench: ## measure every part beside the limits of this machine, then run the other benchmarks
	@.ci/need postgres
	@go run ./cmd/kondate bench
	@packages=$$(.ci/find Benchmark) && packages=$$(echo "$$packages" | cut -d ' ' -f 1 | sort -u) && \
	if [ -z "$$packages" ]; then echo 'There are no benchmarks.'; exit 0; fi && \
	go test -run '^$$' -bench . -benchmem -timeout 0 $$packages

.PHONY: screenshots
screenshots: ## make the pictures of the page in docs/img anew
	@.ci/need postgres chromium fonts
	@go test ./cmd/kondate -run 'TestPage/Screenshots$$' -count 1 -screenshots "$(CURDIR)/docs/img"

.PHONY: quality
quality: ## score the answers about dishes against expectations, and name every miss
	@go test ./domain/cuisine -run 'TestQuality$$' -count 1 -v -quality-misses

.PHONY: fuzz
fuzz: ## run every fuzz target for 30 s (FUZZTIME=5m for longer)
	@.ci/need postgres
	@targets=$$(.ci/find Fuzz) && echo "$$targets" | while read -r package target; do \
		[ -n "$$target" ] || { echo 'There are no fuzz targets.'; break; }; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
	done

# What a campaign of torture does follows from SEED alone; it breaks things for DURATION.
SEED     ?= 1
DURATION ?= 10m

.PHONY: torture
torture: ## break a fleet of processes by a plan for ten minutes, then check everything (SEED=7 DURATION=1m)
	@.ci/need postgres cc
	@go test -race ./cmd/kondate/torture -run 'TestTorture$$' -count 1 -v -timeout 0 -seed $(SEED) -duration $(DURATION)

.PHONY: vuln
vuln: ## look for known vulnerabilities in what the program calls (needs the network)
	@$(TOOL) govulncheck ./...

# A database of one's own needs no private server.
.PHONY: postgres
postgres:
	@[ -n "$$KONDATE_DATABASE_URL" ] || .ci/need postgres
