# The targets that people use. Everything a Debian machine needs is installed by
# the targets themselves, from debian-packages.

PLUGINDIR ?= /usr/lib/$(shell gcc -dumpmachine)/sasl2
PREFIX ?= /usr/local
DESTDIR ?=

PLUGIN := target/release/libsso.so
PROGRAM := target/release/sasl-sso

# Only the order of what is to be done, never two things at once: cargo itself
# uses all processors.
.NOTPARALLEL:
.DEFAULT_GOAL := build

.PHONY: build demo test lint unit bench install clean packages-build packages-test

packages-build:
	@scripts/install-packages build

packages-test:
	@scripts/install-packages build test

# NODELETE: a thread or thread-local state may outlive a dlclose of the plugin.
build: packages-build
	cargo build --release --locked --bin sasl-sso
	cargo rustc --release --locked --lib --crate-type cdylib -- -Clink-arg=-Wl,-z,nodelete

clean:
	cargo clean
