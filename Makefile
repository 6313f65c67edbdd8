# The two commands of a newcomer, and the shortcuts of those who stay. CMakePresets.json has the builds themselves.
JOBS ?= $(shell nproc)
export CCACHE_NOHASHDIR = 1

.PHONY: all demo test long sanitize aarch64 fuzz conformance peers install package clean
all:
	@tools/packages.sh build
	@cmake --preset default > /dev/null
	@cmake --build --preset default -j $(JOBS)

# Builds the program alone, not its tests
demo:
	@tools/packages.sh build
	@cmake --preset default > /dev/null
	@cmake --build --preset default -j $(JOBS) --target pith
	@tools/demo.sh

# Everything that must hold: the include law, unit, golden, error and differential tests; the parts that read untrusted
# bytes again under sanitizers; the runtime alone; the runtime for 64-bit Arm under qemu. ctest's summary comes last.
test:
	@tools/packages.sh test
	@python3 tools/check_includes.py
	@tools/test.sh $(JOBS)

# The long job: second oracles of the virtual chip, each with a package of its own. A core in SystemVerilog under
# Verilator against the model; the chip as a SystemC/TLM-2.0 target in a platform.
long:
	@tools/packages.sh long
	@for preset in rtl systemc; do \
	  cmake --preset $$preset > /dev/null && cmake --build --preset $$preset -j $(JOBS) && ctest --preset $$preset || exit 1; \
	done

sanitize:
	@tools/packages.sh test
	@cmake --preset sanitize > /dev/null && cmake --build --preset sanitize -j $(JOBS) && ctest --preset sanitize

aarch64:
	@tools/packages.sh test
	@cmake --preset aarch64 > /dev/null && cmake --build --preset aarch64 -j $(JOBS) && ctest --preset aarch64

# libFuzzer on the importer and on files (needs clang); FUZZ_SECONDS=600 make fuzz runs each for so long
FUZZ_SECONDS ?= 60
fuzz:
	@tools/fuzz.sh $(FUZZ_SECONDS)

# ONNX's own node tests (needs PyPI); writes tests/conformance.csv
conformance: all
	@tools/conformance.sh

# pith beside ONNX Runtime, OpenVINO and ncnn (needs PyPI); writes bench/peers/results.csv
peers: all
	@bench/peers/run.sh

install: all
	@cmake --install build/default

# A .deb of the program, the libraries and their headers
package: all
	@cd build/default && cpack

clean:
	@rm -rf build
