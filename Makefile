# The targets that people use. Everything a Debian machine needs is installed by
# the targets themselves, from debian-packages, and for the tests from npm.

PLUGINDIR ?= /usr/lib/$(shell gcc -dumpmachine)/sasl2
PREFIX ?= /usr/local
# Where Debian's packages have their units.
UNITDIR ?= /lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/sasl-sso
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
DESTDIR ?=

# Wherever else cargo was told to build: the tests look for what was built there.
export CARGO_TARGET_DIR := $(CURDIR)/target

PLUGIN := target/release/libsso.so
PROGRAM := target/release/sasl-sso

# Only the order of what is to be done, never two things at once: cargo itself
# uses all processors.
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

# By Debian's own tools, from debian/.
deb: packages-deb compile
	rm -rf target/deb
	mkdir -p target/deb
	debian/rules clean
	DEBDIR=target/deb debian/rules binary
	debian/rules clean

# Everything, with the plugin as it is shipped.
test: build deb packages-test
	cargo test --locked --workspace

# The packages' whole life, beside a Cyrus in a Debian of its own: as root, and with
# what debootstrap fetches. SSO_DEBIAN=trixie, say, is another release than this machine's.
test-package: build deb packages-test
	@scripts/install-packages package-test
	cargo test --locked --test packages lifecycle:: -- --ignored --nocapture

# The oldest libsasl2 and the newest: as root, with what debootstrap fetches, and with an
# hour for the first time. PORTABILITY=i386 and arm64 are beginnings: 32 bits, and another
# processor.
PORTABILITY ?= oldest newest
test-portability: build
	@scripts/install-packages portability
	@scripts/test-portability $(PORTABILITY)

# What takes too long for every change: minutes of silence and of nonsense.
soak: build packages-test
	cargo test --locked --test daemon robustness:: -- --ignored --nocapture

# Ten thousand living processes that have each had a login, and what the next login costs.
crowds: build packages-test
	cargo test --locked --test faults ten_thousand -- --ignored --nocapture

# The same of faults: a thousand kills, minutes of stress. SSO_STRESS_SECONDS says of how many.
faults: build packages-test
	cargo test --locked --test faults -- --ignored --nocapture state_dir:: host::

# Whose mailbox each user name opens: a table of principals in all configurations, and random
# names, of which SSO_NAMES is the number (3000) and SSO_TEST_SEED the seed.
names: build packages-test
	cargo test --locked --test user_names -- --ignored --nocapture

# What the unit of the daemon promises, tried from inside: as root, under a systemd in
# namespaces of its own.
sandbox: build packages-test
	cargo test --locked --test daemon sandbox:: -- --ignored --nocapture

# The C border by a plugin and a host that watch themselves, LMDB and all other C code in
# it included. rustc has the flag, and wants to be told that one knows that it may change.
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

# Other tools, limits that the sanitizer itself does not fit into, and how fast it all is.
ASAN_SKIPS := --skip valgrind --skip exported --skip saslpluginviewer --skip memory:: \
	--skip growth:: --skip reloads:: --skip slow:: --skip dns:: --skip descriptors::

# An hour of forty connections while all servers are stopped, killed and started again;
# SSO_SOAK_SECONDS is for less, SSO_TEST_SEED for another order.
soak-hour: build packages-test
	cargo test --locked --test faults soak:: -- --ignored --nocapture

# Whether the time of a refusal tells anything: on a machine with nothing else to do.
timing: build packages-test
	cargo test --locked --test mechanisms timing:: -- --ignored --nocapture

# Each fuzz target for FUZZ_SECONDS (60), and a table of what came of it.
fuzz: packages-fuzz
	@scripts/fuzz

# What threads of one process share, in many orders by shuttle; SSO_RACES is so many times
# as many.
races: packages-build
	cd races && cargo test --locked -- --nocapture

# What a change must pass before it is looked at.
lint: packages-lint
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path races/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cd races && cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# In the profile of the tests: what is measured is the plugin as it is shipped,
# and building benches for release would not leave it alone.
bench: build packages-test
	cargo bench --locked --profile dev --bench benches

# What logins and loading cost in instructions, which the tests hold to: written anew.
instructions: build packages-test
	SSO_RENEW_INSTRUCTIONS=1 cargo test --locked --test instructions -- --nocapture

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

# What install brought, and nothing else: options, sessions and what systemd was told
# to enable are not among it.
uninstall:
	rm -f "$(DESTDIR)$(PLUGINDIR)/libsso.so" "$(DESTDIR)$(PREFIX)/sbin/sasl-sso" \
		"$(DESTDIR)$(UNITDIR)/sasl-sso.socket" "$(DESTDIR)$(UNITDIR)/sasl-sso.service" \
		"$(DESTDIR)$(MANDIR)/man5/sasl-sso.conf.5" "$(DESTDIR)$(MANDIR)/man8/sasl-sso.8" \
		"$(DESTDIR)$(BASHDIR)/sasl-sso" "$(DESTDIR)$(FISHDIR)/sasl-sso.fish" \
		"$(DESTDIR)$(ZSHDIR)/_sasl-sso"
	rm -rf "$(DESTDIR)$(DOCDIR)"

clean:
	cargo clean
