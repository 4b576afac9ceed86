# A thin front for Meson. `make help` lists what there is.
BUILD ?= build
IMAGES ?= /var/lib/berm/images
PREFIX ?= /usr/local
T ?= 30

export BUILD
export BERM_IMAGES := $(IMAGES)

.PHONY: all help run test bench lint fuzz asan asan-programs install clean programs

all: ## build into build/: bermd, berm-spawn, berm-agent, berm
	@scripts/setup --check build
	@$(MAKE) --no-print-directory programs

programs:
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD)
	@ninja -C $(BUILD)
	@scripts/link-programs $(BUILD)

run: ## install what is missing, build, make the default image, start bermd; ARGS='…' are its options
	@scripts/setup run
	@$(MAKE) --no-print-directory programs
	@exec scripts/as-root scripts/run $(BUILD) $(ARGS)

test: ## the same set-up, and every test; SUITES='unit e2e …' for some
	@scripts/setup test
	@$(MAKE) --no-print-directory programs
	@scripts/as-root scripts/images $(BUILD) $(IMAGES) minimal base
	@scripts/as-root scripts/node scripts/run-tests.mjs $(BUILD) $(SUITES)

bench: ## measure beside crun and bubblewrap; GROUPS='cold warm …' for some
	@scripts/setup ci
	@$(MAKE) --no-print-directory programs
	@scripts/as-root scripts/images $(BUILD) $(IMAGES) base
	@scripts/as-root bench/run $(GROUPS)

lint: ## formatting, static analysis, layering, ceilings, spelling
	@scripts/setup ci
	@$(MAKE) --no-print-directory programs
	@scripts/lint $(BUILD)

fuzz: ## run every fuzz target, the main ones for T seconds
	@scripts/setup ci
	@scripts/fuzz $(T)

asan: ## unit and end-to-end tests under the address and undefined-behaviour sanitizers
	@scripts/setup test
	@$(MAKE) --no-print-directory asan-programs
	@BUILD=build-asan scripts/as-root scripts/images build-asan $(IMAGES) minimal base
	@BUILD=build-asan BERM_SANITIZED=1 scripts/as-root scripts/node scripts/run-tests.mjs build-asan unit e2e

asan-programs:
	@[ -f build-asan/build.ninja ] || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false \
	  -Dnative_agent=true -Dbuildtype=debug -Dbench=false
	@$(MAKE) --no-print-directory programs BUILD=build-asan

install: all ## into DESTDIR and PREFIX, with man pages, the systemd unit and a default configuration
	@meson configure $(BUILD) -Dprefix=$(PREFIX) -Dsysconfdir=/etc -Dlocalstatedir=/var
	@$(MAKE) --no-print-directory programs
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild --quiet

clean: ## remove what was built
	rm -rf build build-asan build-fuzz

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
