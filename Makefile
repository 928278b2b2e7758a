# The four commands are `make demo`, `make build`, `make test` and `make format`; `make help` lists all. Each sets up what it
# needs on a fresh Debian 12 (scripts/packages.txt) and needs nothing from the network besides those packages.
JOBS ?= $(shell nproc)
BENCH_SECONDS ?= 480
FUZZ_SECONDS ?= 30

release := build/release
wingspan := $(release)/wingspan

.DEFAULT_GOAL := help
.PHONY: help demo build binary test bench fuzz format tidy clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo:  ## build the engine and see it work; writes demo.html
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory binary
	$(wingspan) demo
	@scripts/demo_serve.sh $(wingspan)

build:  ## build/release/wingspan, with all transports
	@scripts/setup.sh build mpi
	@$(MAKE) --no-print-directory binary

binary:
	@scripts/configure.sh release
	cmake --build $(release) -j $(JOBS) --target wingspan

test:  ## build everything and run all tests
	@scripts/setup.sh build mpi test
	@scripts/configure.sh release -DWINGSPAN_TESTS=ON
	cmake --build $(release) -j $(JOBS)
	ctest --test-dir $(release) --output-on-failure -j $(JOBS)

bench:  ## kernels by themselves, then the engine on the demo model
	@scripts/setup.sh build mpi test
	@scripts/configure.sh release -DWINGSPAN_BENCH=ON
	cmake --build $(release) -j $(JOBS) --target wingspan bench
	scripts/bench.sh $(release) $(BENCH_SECONDS)

fuzz:  ## each fuzz target for FUZZ_SECONDS (30)
	@scripts/setup.sh build tools
	scripts/fuzz.sh $(FUZZ_SECONDS)

format:  ## clang-format all sources in place
	@scripts/setup.sh tools
	scripts/sources.sh | xargs clang-format -i

tidy:  ## formatting, style tests and clang-tidy (src/)
	@scripts/setup.sh build mpi test tools
	JOBS=$(JOBS) scripts/tidy.sh

clean:  ## remove build/
	rm -rf build
