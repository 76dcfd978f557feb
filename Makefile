# The targets install what they need: Debian packages as listed in debian-packages, and for
# the tests also packages from npm and PyPI, below target/.

PLUGINDIR ?= /usr/lib/$(shell gcc -dumpmachine)/sasl2
PREFIX ?= /usr/local
# The directory in which Debian's packages install units.
UNITDIR ?= /lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/sasl-sso
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
DESTDIR ?=

# Overrides any other setting, because the tests look for the built files there.
export CARGO_TARGET_DIR := $(CURDIR)/target

PLUGIN := target/release/libsso.so
PROGRAM := target/release/sasl-sso

# Runs one target at a time, because cargo itself uses all processors.
.NOTPARALLEL:
.DEFAULT_GOAL := build

.PHONY: build compile deb demo install uninstall clean lint test bench instructions \
	test-package test-portability soak soak-hour crowds faults names fuzz races asan sandbox timing \
	packages-build packages-deb packages-demo packages-fuzz packages-lint packages-test

packages-build:
	@scripts/install-packages build

packages-deb:
	@scripts/install-packages build package

packages-fuzz:
	@scripts/install-packages build fuzz

packages-lint:
	@scripts/install-packages build lint

packages-demo:
	@scripts/install-packages build demo

packages-test:
	@scripts/install-packages build demo test
	@scripts/unpack-packages
	@scripts/install-python-packages
	@scripts/install-npm-packages

build: packages-build compile

compile:
	cargo build --release --locked --package libsso --package sasl-sso

demo: packages-demo compile
	cargo build --locked --example demo
	SSO_PLUGIN=$(PLUGIN) target/debug/examples/demo

# Builds the Debian packages with debhelper.
deb: packages-deb compile
	rm -rf target/deb
	mkdir -p target/deb
	debian/rules clean
	DEBDIR=target/deb debian/rules binary
	debian/rules clean

# Runs all tests that are not marked #[ignore], with the release build of the plugin.
test: build deb packages-test
	cargo test --locked --workspace

# Installs, upgrades and removes the packages beside Cyrus in a separate Debian system that
# debootstrap creates. Needs root. SSO_DEBIAN selects a release, such as trixie, other than this
# machine's.
test-package: build deb packages-test
	@scripts/install-packages package-test
	cargo test --locked --test packages lifecycle:: -- --ignored --nocapture

# Tests the oldest and the newest supported libsasl2, in Debian systems that debootstrap creates.
# Needs root, and about an hour for the first run. PORTABILITY=i386 and arm64 are experimental.
PORTABILITY ?= oldest newest
test-portability: build
	@scripts/install-packages portability
	@scripts/test-portability $(PORTABILITY)

# Connects silent, slow and garbled clients to the daemon for several minutes.
soak: build packages-test
	cargo test --locked --test daemon robustness:: -- --ignored --nocapture

# Measures a login while ten thousand other processes are alive that have each had one.
crowds: build packages-test
	cargo test --locked --test faults ten_thousand -- --ignored --nocapture

# Kills a thousand processes in the middle of a login, then runs a stress test for
# SSO_STRESS_SECONDS.
faults: build packages-test
	cargo test --locked --test faults -- --ignored --nocapture state_dir:: host::

# Checks whose mailbox each user name opens: a table of principals in all configurations, and
# SSO_NAMES (3000) random names from the seed SSO_TEST_SEED.
names: build packages-test
	cargo test --locked --test user_names -- --ignored --nocapture

# Tests the sandbox of the daemon's unit from inside, under a systemd in separate namespaces.
# Needs root.
sandbox: build packages-test
	cargo test --locked --test daemon sandbox:: -- --ignored --nocapture

# Tests the C interface with AddressSanitizer in the plugin, in its C libraries such as LMDB, and
# in the host application. The flag of rustc is unstable, hence RUSTC_BOOTSTRAP.
RUST_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
asan: build packages-test
	@find "$$(rustc --print sysroot)/lib/rustlib/$(RUST_HOST)/lib" -name '*rt.asan.a' | grep -q . || \
		{ echo "error: this Rust has no AddressSanitizer; rustup's has" >&2; exit 1; }
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
	CFLAGS_$(subst -,_,$(RUST_HOST))="-fsanitize=address -fno-omit-frame-pointer" \
	cargo build --locked --lib --package libsso --target $(RUST_HOST) --target-dir target/asan
	rm -f target/asan/report.*
	SSO_TEST_PLUGIN=target/asan/$(RUST_HOST)/debug/libsso.so \
	SSO_TEST_SANITIZER=-fsanitize=address \
	ASAN_OPTIONS="verify_asan_link_order=0:log_path=$(CURDIR)/target/asan/report" \
	cargo test --locked --no-fail-fast --test mechanisms --test faults \
		-- --nocapture --test-threads 2 $(ASAN_SKIPS) plugin:: tokens:: host::
	@! grep -H . target/asan/report.* 2>/dev/null

# Tests that use other tools, measure time, or set limits that the sanitizer itself exceeds.
ASAN_SKIPS := --skip valgrind --skip exported --skip saslpluginviewer --skip memory:: \
	--skip growth:: --skip reloads:: --skip slow:: --skip dns:: --skip descriptors::

# Runs forty connections for an hour while all servers are stopped, killed and restarted.
# SSO_SOAK_SECONDS sets another duration, SSO_TEST_SEED another order of events.
soak-hour: build packages-test
	cargo test --locked --test faults soak:: -- --ignored --nocapture

# Tests whether the time of a refusal reveals anything. Run it on an idle machine.
timing: build packages-test
	cargo test --locked --test mechanisms timing:: -- --ignored --nocapture

# Runs each fuzz target for FUZZ_SECONDS (60), and prints a table of the results.
fuzz: packages-fuzz
	@scripts/fuzz

# Tests the data that threads of one process share, in many interleavings chosen by shuttle.
# SSO_RACES multiplies their number.
races: packages-build
	cd races && cargo test --locked -- --nocapture

# The checks that a change must pass before its review.
lint: packages-lint
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path races/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cd races && cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# Builds the benchmarks in the profile of the tests. They measure the release build of the plugin,
# which building them in the release profile would replace.
bench: build packages-test
	cargo bench --locked --profile dev --bench benches

# Updates the committed instruction counts of logins and loading, which a test compares.
instructions: build packages-test
	SSO_RENEW_INSTRUCTIONS=1 cargo test --locked --test instructions -- --nocapture

# Replaces files by rename, so that a process that has mapped the old plugin keeps it.
# Does not depend on build, because you build as a user and install as root.
install:
	install -d "$(DESTDIR)$(PLUGINDIR)" "$(DESTDIR)$(PREFIX)/sbin"
	install -m 644 $(PLUGIN) "$(DESTDIR)$(PLUGINDIR)/.libsso.new"
	mv -f "$(DESTDIR)$(PLUGINDIR)/.libsso.new" "$(DESTDIR)$(PLUGINDIR)/libsso.so"
	install -m 755 $(PROGRAM) "$(DESTDIR)$(PREFIX)/sbin/.sasl-sso.new"
	mv -f "$(DESTDIR)$(PREFIX)/sbin/.sasl-sso.new" "$(DESTDIR)$(PREFIX)/sbin/sasl-sso"
	install -d "$(DESTDIR)$(UNITDIR)"
	install -m 644 systemd/sasl-sso.socket systemd/sasl-sso.service "$(DESTDIR)$(UNITDIR)"
	sed -i 's|@SBINDIR@|$(PREFIX)/sbin|' "$(DESTDIR)$(UNITDIR)/sasl-sso.service"
	install -d "$(DESTDIR)$(MANDIR)/man5" "$(DESTDIR)$(MANDIR)/man8"
	install -m 644 man/sasl-sso.conf.5 "$(DESTDIR)$(MANDIR)/man5"
	install -m 644 man/sasl-sso.8 "$(DESTDIR)$(MANDIR)/man8"
	install -d "$(DESTDIR)$(BASHDIR)" "$(DESTDIR)$(FISHDIR)" "$(DESTDIR)$(ZSHDIR)"
	$(PROGRAM) completions bash >"$(DESTDIR)$(BASHDIR)/sasl-sso"
	$(PROGRAM) completions fish >"$(DESTDIR)$(FISHDIR)/sasl-sso.fish"
	$(PROGRAM) completions zsh >"$(DESTDIR)$(ZSHDIR)/_sasl-sso"
	chmod 644 "$(DESTDIR)$(BASHDIR)/sasl-sso" "$(DESTDIR)$(FISHDIR)/sasl-sso.fish" \
		"$(DESTDIR)$(ZSHDIR)/_sasl-sso"
	install -d "$(DESTDIR)$(DOCDIR)/docs/decisions" "$(DESTDIR)$(DOCDIR)/examples"
	install -m 644 README.md CHANGELOG.md SECURITY.md "$(DESTDIR)$(DOCDIR)"
	install -m 644 docs/*.md "$(DESTDIR)$(DOCDIR)/docs"
	install -m 644 docs/decisions/*.md "$(DESTDIR)$(DOCDIR)/docs/decisions"
	install -m 644 cyrus-conf-examples/* "$(DESTDIR)$(DOCDIR)/examples"

# Removes the files that install creates. Does not change options, sessions or enabled units.
uninstall:
	rm -f "$(DESTDIR)$(PLUGINDIR)/libsso.so" "$(DESTDIR)$(PREFIX)/sbin/sasl-sso" \
		"$(DESTDIR)$(UNITDIR)/sasl-sso.socket" "$(DESTDIR)$(UNITDIR)/sasl-sso.service" \
		"$(DESTDIR)$(MANDIR)/man5/sasl-sso.conf.5" "$(DESTDIR)$(MANDIR)/man8/sasl-sso.8" \
		"$(DESTDIR)$(BASHDIR)/sasl-sso" "$(DESTDIR)$(FISHDIR)/sasl-sso.fish" \
		"$(DESTDIR)$(ZSHDIR)/_sasl-sso"
	rm -rf "$(DESTDIR)$(DOCDIR)"

clean:
	cargo clean
