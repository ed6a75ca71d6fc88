# brig: `make demo` shows it at work, `make test` proves it.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PREFIX  ?= /usr/local
DESTDIR ?=
# How long each fuzz target for policies, ids and plans runs in `make test`.
FUZZTIME ?= 10s
GOLANGCI_VERSION := v2.15.0

GO      ?= go
# A compiler need not look after its memory: it takes a sixth less.
GO_BUILD = GOGC=400 $(GO) build
# Where it can, brig begins to clone the sandbox before Go is started.
ENTRY_amd64   := -E github.com/brig-sandbox/brig/sandbox/launch.entry
GOFLAGS_BUILD  = -trimpath -ldflags '-s -w $(ENTRY_$(shell $(GO) env GOARCH)) -X main.buildVersion=$(VERSION)'
HAVE_FILTERC  := $(and $(wildcard cmd/brig-filterc/main.go),$(wildcard configs/*.toml))

export FUZZTIME

.PHONY: all deps build bin/brig bin/brig-image demo test vm-test vm-shell bench lint install clean

all: build

# Installs what is missing, by package name; quick when nothing is.
deps:
	@e2e/deps.sh

# bin/brig is static and without cgo. The shipped filters are compiled first,
# because they are embedded in it.
build: bin/brig bin/brig-image dist/.stamp

ifneq ($(HAVE_FILTERC),)
bin/brig bin/brig-image: configs/filters/index.json

bin/brig-filterc: go.mod go.sum $(shell find cmd/brig-filterc policy/seccomp -name '*.go' -not -name '*_test.go')
	CGO_ENABLED=1 $(GO_BUILD) -trimpath -ldflags '-s -w -linkmode external -extldflags "-static"' -o $@ ./cmd/brig-filterc

configs/filters/index.json: bin/brig-filterc $(wildcard configs/*.toml)
	bin/brig-filterc -shipped configs/filters
endif

# The linker's output comes into the page cache page by page, and so it lies in
# memory: each start of such a file takes a tenth longer than of one that was
# written at once.
bin/brig:
	CGO_ENABLED=0 $(GO_BUILD) $(GOFLAGS_BUILD) -o $@ ./cmd/brig
	@dd if=$@ of=$@.new bs=64M iflag=fullblock status=none && chmod 755 $@.new && mv $@.new $@

# The commands for images: what they link, no run should have to load.
bin/brig-image:
	CGO_ENABLED=0 $(GO_BUILD) -trimpath -ldflags '-s -w' -o $@ ./cmd/brig-image

# Man pages and completions come from the command tree itself.
dist/.stamp: bin/brig
	@rm -rf dist && mkdir -p dist
	CGO_ENABLED=0 GOGC=400 $(GO) run -tags docs $(GOFLAGS_BUILD) ./cmd/brig docs --man dist/man --completions dist/completions
	@touch $@

demo: deps build
	e2e/demo/run.sh

test: deps build
	e2e/test.sh

# The whole suite in both virtual machines with systemd, as a user and as root.
# Emulated, make test has each script once. The first run makes the machines' images.
vm-test: deps build
	$(GO) test -tags machines -count=1 -timeout 60m -v ./e2e/vm

# A shell in such a machine: VM_SYSTEM=debian12, VM_FLAGS=-root. Leave with exit
# or Ctrl-A X.
VM_SYSTEM ?= debian13
vm-shell: deps build
	@$(GO) run ./e2e/vm shell -system $(VM_SYSTEM) $(VM_FLAGS)

bench: deps build
	e2e/bench/run.sh

# What is embedded has to be there before anything can be read.
lint: deps build bin/tools/golangci-lint-$(GOLANGCI_VERSION)
	bin/tools/golangci-lint-$(GOLANGCI_VERSION) run ./...

# Built from source at one version. The file's name carries the version, so
# that a new one is built when it changes.
bin/tools/golangci-lint-$(GOLANGCI_VERSION):
	@mkdir -p bin/tools
	GOFLAGS= GOBIN=$(CURDIR)/bin/tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/tools/golangci-lint $@

install: build
	install -D -m 0755 bin/brig $(DESTDIR)$(PREFIX)/bin/brig
	install -D -m 0755 bin/brig-image $(DESTDIR)$(PREFIX)/libexec/brig/brig-image
ifneq ($(HAVE_FILTERC),)
	install -D -m 0755 bin/brig-filterc $(DESTDIR)$(PREFIX)/libexec/brig/brig-filterc
endif
	install -D -m 0644 configs/systemd/delegate.conf $(DESTDIR)$(PREFIX)/share/brig/systemd/delegate.conf
	install -D -m 0644 configs/apparmor/brig $(DESTDIR)$(PREFIX)/share/brig/apparmor/brig
	for page in dist/man/*.1; do install -D -m 0644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/}"; done
	install -D -m 0644 dist/completions/brig.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/brig
	install -D -m 0644 dist/completions/_brig $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_brig
	install -D -m 0644 dist/completions/brig.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/brig.fish

clean:
	rm -rf bin dist configs/filters/*.bpf configs/filters/index.json
