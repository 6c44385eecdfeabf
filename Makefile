# Clary. Each target is one line; what needs an `if` is a Go program under tool/.
.DEFAULT_GOAL := help
# One way to compile for all that is built here, so that nothing is compiled twice.
export GOFLAGS += -buildvcs=false -trimpath
export CGO_ENABLED ?= 0
GO ?= go
N ?= 10000
FOR ?= 10m

.PHONY: help demo test check build run sim soak fuzz nightly sdk shots lint fmt gen setup lock bench clean-machine clean

demo: ## show the main path, from nothing: train with SageMaker's own SDKs, crash, recover, deploy, predict, delete
	@$(GO) run ./tool/demo

test: ## everything that gates a change; prints its plan and installs what it needs
	@$(GO) run ./tool/check test

check: ## the quick part of test: linters, unit tests
	@$(GO) run ./tool/check check

build: ## bin/clary with clary-task embedded
	@$(GO) run ./tool/setup build

run: build ## a server on data that is thrown away when it stops
	@d=$$(mktemp -d) && trap 'rm -rf "$$d"' EXIT && bin/clary serve --data "$$d"

sim: ## N crash simulations, each from its own seed: make sim N=10000
	@SIM_N=$(N) $(GO) test -count=1 -timeout 120m ./test/sim

soak: build ## ten minutes of jobs, S3 traffic and kills; what the server holds must stay flat: make soak FOR=10m
	@$(GO) run ./test/soak -for $(FOR)

fuzz: FOR = 20s
fuzz: ## each Fuzz function of the tree in turn; an input that fails stays in its testdata/fuzz: make fuzz FOR=20s
	@$(GO) run ./tool/check fuzz $(FOR)

nightly: sim soak fuzz ## 10,000 crash simulations, the soak, fuzzing, all unit tests with the race detector, TensorFlow, a budget on a real clock, the builds for arm64 and macOS
	@CGO_ENABLED=1 $(GO) test -race -timeout 60m ./internal/... ./test/conformance
	@$(GO) test -timeout 60m -tags nightly -run TestRealTensorFlow ./internal/runtimes/catalog
	@$(GO) test -count=1 -timeout 30m -tags nightly -run TestRealBudget ./test/daemon
	@CGO_ENABLED=0 GOARCH=arm64 $(GO) build -o /dev/null ./cmd/clary-task
	@CGO_ENABLED=0 GOARCH=arm64 $(GO) build -o /dev/null ./cmd/clary
	@CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet ./cmd/clary
	@CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/clary

sdk: ## real AWS clients against a real server
	@$(GO) run ./tool/check sdk

shots: ## the console's pages in Chromium, as pictures in docs/pages
	@CLARY_SHOTS=$(CURDIR)/docs/pages $(GO) run ./tool/check shots

lint: ## golangci-lint with lint/golangci.yml
	@$(GO) run ./tool/check lint

fmt: ## Go files as lint wants them
	@$(GO) run ./tool/check fmt

gen: ## API structs and facts anew from the pinned botocore
	@$(GO) run ./tool/setup gen

setup: ## the Python environments that sdk and demo use
	@$(GO) run ./tool/setup

lock: ## newer versions into test/sdk/requirements-*.txt
	@$(GO) run ./tool/setup lock

clean-machine: ## both commands of the README on a fresh Debian, as root and as a user (as root; ARGS="-as user -do demo")
	@$(GO) run ./tool/cleanmachine $(ARGS)

bench: build ## figures beside the floor of the same run, into bench/README.md
	@$(GO) run ./bench

clean: ## what was built here
	@rm -rf bin internal/server/taskbin/clary-task*

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
