# Copyright The Goldkeep Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
VERSION_FLAGS = -trimpath -ldflags '-s -w'

.PHONY: build demo test check tools docs fuzz bench

build: ## the binary: bin/goldkeep
	CGO_ENABLED=0 $(GO) build $(VERSION_FLAGS) -o bin/goldkeep ./cmd/goldkeep

demo: build ## the story: image, verdict, secret, advisory, revocation
	$(GO) run ./demo bin/goldkeep

test: tools ## all tests, with the race detector; installs what they need
	hack/test

check: ## what CI runs: all tests and the linters
	.ci/run

tools: ## what the tests need and this machine lacks
	hack/tools

docs: ## the generated pages of the command line
	cd cmd/goldkeep && $(GO) generate ./...

bench: ## what is measured; see bench/README.md
	$(GO) test ./bench -run '^$$' -bench . -benchtime 2s -count 3
