# Everything is built below build/. `make help` lists the targets.

SHELL := /bin/bash
export CGO_ENABLED ?= 0

BUILD := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PLUGIN_NAME ?= mooring:latest
CELL_DIR ?= /var/tmp/mooring-cell
ROUNDS ?= 30
SEED ?= 0# from the time
TESTS := go run ./test/cmd/tests# go test that says what was skipped
CELL := go run ./test/cmd/cell --dir $(CELL_DIR)

.PHONY: help build plugin check test test-units test-stories stories-long stories-short demo cell cell-down chaos soak bench prepare clean FORCE

help: ## list the targets
	@grep -hE '^[a-z/-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: $(BUILD)/mooring ## the binary, build/mooring

$(BUILD)/mooring: FORCE
	@mkdir -p $(BUILD)
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ .

$(BUILD)/plugin: $(BUILD)/mooring config.json plugin/manifest.sh plugin/rootfs.sh
	@rm -rf $@ && mkdir -p $@
	plugin/manifest.sh config.json >$@/config.json
	plugin/rootfs.sh $@/rootfs $(BUILD)/mooring

plugin: $(BUILD)/plugin ## register the managed plugin as mooring:latest in the engine at DOCKER_HOST
	docker plugin create $(PLUGIN_NAME) $(BUILD)/plugin
	@echo "now: docker plugin enable $(PLUGIN_NAME)"

prepare: ## install what tests and demo need (Debian 12, root): Docker, a real Mesos, images of a real Elasticsearch, ZooKeeper
	test/prepare

check: ## gofmt, vet, staticcheck, the import arrows, unit tests with the race detector
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "run gofmt on:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	$(MAKE) test-units

test: export MOORING_NO_SKIPS := 1
test: prepare check test-stories ## everything, the end-to-end stories included; a skipped test is a failure

test-units:
	CGO_ENABLED=1 $(TESTS) -race -timeout 30m $$(go list ./... | grep -v -e '^mooring/test$$' -e '^mooring/test/chaos$$')
	$(TESTS) ./plugin/lease ./coordinator # again: the race detector leaves time for a hundredth of the histories
	$(TESTS) -run RandomHistories ./scheduler

test-stories: $(BUILD)/plugin
	$(MAKE) -j2 stories-long stories-short
	$(TESTS) -count=1 -v -parallel 3 -timeout 20m ./test/chaos

# Stories spend most of their time in waiting, so they are told in two cells at once.
LONG_STORIES := TestStory(AnAgentReturns|AnOperatorsWalk|ElasticsearchOnImages|Soak|SilentHosts)

stories-long:
	$(TESTS) -count=1 -v -timeout 45m -run '$(LONG_STORIES)' ./test

stories-short:
	MOORING_TEST_CELL=/var/tmp/mooring-stories-short $(TESTS) -count=1 -v -timeout 45m -skip '$(LONG_STORIES)' ./test

demo: prepare $(BUILD)/plugin ## the whole story on this machine: a host dies, its node comes back, nothing is lost
	go run ./test/cmd/demo

cell: prepare $(BUILD)/plugin ## four simulated hosts to play with; `make cell-down` removes them
	$(CELL) up --hosts 4
	$(CELL) scheduler
	ln -sfn $(CELL_DIR)/cell.json cell.json

cell-down: ## remove the cell
	$(CELL) down
	rm -f cell.json

chaos: prepare $(BUILD)/plugin ## every fault at every step of a volume's life; MOORING_CHAOS_SEED=N repeats a run's choices
	MOORING_CHAOS=all $(TESTS) -count=1 -v -parallel 3 -timeout 40m -run 'TestStoryChaos' ./test/chaos

soak: prepare $(BUILD)/plugin ## ROUNDS=30 SEED=…: break one thing after the other under Elasticsearch, look for every document
	go build -o $(BUILD)/faultfs ./test/cmd/faultfs
	go run ./test/cmd/soak -rounds $(ROUNDS) -seed $(SEED)

bench: prepare $(BUILD)/plugin ## measure, compare, write bench.json
	test/prepare --only bench
	go run ./test/cmd/bench

clean: ## remove what was built
	rm -rf $(BUILD)

FORCE:
