# The targets that people use. Everything a Debian machine needs is installed by
# the targets themselves, from debian-packages, and for the tests from npm.

PLUGINDIR ?= /usr/lib/$(shell gcc -dumpmachine)/sasl2
PREFIX ?= /usr/local
# Where Debian's packages have their units.
UNITDIR ?= /lib/systemd/system
DESTDIR ?=

PLUGIN := target/release/libsso.so
PROGRAM := target/release/sasl-sso

# Only the order of what is to be done, never two things at once: cargo itself
# uses all processors.
.NOTPARALLEL:
.DEFAULT_GOAL := build

.PHONY: build demo test soak lint bench install clean packages-build packages-test

packages-build:
	@scripts/install-packages build

packages-test:
	@scripts/install-packages build test
	@scripts/unpack-packages
	@scripts/install-python-packages
	@scripts/install-npm-packages

# NODELETE: a thread or thread-local state may outlive a dlclose of the plugin.
build: packages-build
	cargo build --release --locked --bin sasl-sso
	cargo rustc --release --locked --lib --crate-type cdylib -- -Clink-arg=-Wl,-z,nodelete

demo: build packages-test
	cargo build --locked --example demo
	SSO_PLUGIN=$(PLUGIN) target/debug/examples/demo

# Everything, with the plugin as it is shipped.
test: build packages-test
	cargo test --locked

# What takes too long for every change: minutes of silence and of nonsense.
soak: build packages-test
	cargo test --locked --test daemon_survives -- --ignored --nocapture

# What a change must pass before it is looked at.
lint: packages-build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo check --locked --lib --no-default-features

# In the profile of the tests: what is measured is the plugin as it is shipped,
# and building benches for release would not leave it alone.
bench: build packages-test
	cargo bench --locked --profile dev --bench benches

# By rename: a process that has the old plugin mapped goes on with it.
# No dependency on build: one builds as oneself and installs as root.
install:
	install -d "$(DESTDIR)$(PLUGINDIR)" "$(DESTDIR)$(PREFIX)/sbin"
	install -m 644 $(PLUGIN) "$(DESTDIR)$(PLUGINDIR)/.libsso.new"
	mv -f "$(DESTDIR)$(PLUGINDIR)/.libsso.new" "$(DESTDIR)$(PLUGINDIR)/libsso.so"
	install -m 755 $(PROGRAM) "$(DESTDIR)$(PREFIX)/sbin/.sasl-sso.new"
	mv -f "$(DESTDIR)$(PREFIX)/sbin/.sasl-sso.new" "$(DESTDIR)$(PREFIX)/sbin/sasl-sso"
	install -d "$(DESTDIR)$(UNITDIR)"
	install -m 644 systemd/sasl-sso.socket systemd/sasl-sso.service "$(DESTDIR)$(UNITDIR)"
	sed -i 's|@SBINDIR@|$(PREFIX)/sbin|' "$(DESTDIR)$(UNITDIR)/sasl-sso.service"

clean:
	cargo clean
