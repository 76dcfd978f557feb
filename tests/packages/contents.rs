//! The contents, dependencies and scripts of the packages that `make deb` builds, and `make
//! install`. `make test-package` installs the packages.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

mod deb;
mod linked;

use deb::{Deb, files, root, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use test_support::scratch::Scratch;

const GUIDE: &str = include_str!("../../docs/administration.md");

#[test]
fn lintian_reports_nothing() {
    let scratch = Scratch::new("lintian");
    let packages = Deb::both(&scratch).map(|deb| deb.path);
    let mut lintian = Command::new("lintian");
    // lintian leaves files in TMPDIR.
    lintian.env("TMPDIR", scratch.path());
    lintian.args([
        "--allow-root",
        "--display-info",
        "--fail-on",
        "error,warning,info",
    ]);
    let output = run(lintian.args(packages));
    assert_eq!(output, "");
}

#[test]
fn packages_contain_exactly_the_expected_files() {
    let scratch = Scratch::new("packages");
    let [plugin, program] = Deb::both(&scratch);
    let machine = run(Command::new("gcc").arg("-dumpmachine"));
    let outside_of_doc = |deb: &Deb| -> Vec<String> {
        let files = deb.files().into_iter();
        files
            .filter(|file| !file.starts_with("usr/share/doc/"))
            .collect()
    };
    let libsso = format!("usr/lib/{}/sasl2/libsso.so", machine.trim());
    assert_eq!(
        outside_of_doc(&plugin),
        [
            libsso.clone(),
            "usr/share/lintian/overrides/libsasl2-modules-sso".to_owned()
        ]
    );
    assert_eq!(
        outside_of_doc(&program),
        [
            "lib/systemd/system/sasl-sso.service",
            "lib/systemd/system/sasl-sso.socket",
            "usr/sbin/sasl-sso",
            "usr/share/bash-completion/completions/sasl-sso",
            "usr/share/fish/vendor_completions.d/sasl-sso.fish",
            "usr/share/lintian/overrides/sasl-sso",
            "usr/share/man/man5/sasl-sso.conf.5.gz",
            "usr/share/man/man8/sasl-sso.8.gz",
            "usr/share/zsh/vendor-completions/_sasl-sso",
        ]
    );
    for example in test_support::examples::all() {
        let name = example
            .file_name()
            .expect("the path has no file name")
            .to_string_lossy();
        let packaged = program.read(&format!("usr/share/doc/sasl-sso/examples/{name}"));
        assert_eq!(
            packaged,
            fs::read_to_string(&example).expect("cannot read the example")
        );
    }
    // The packages contain the binaries that all other tests use.
    for (deb, built, packaged) in [
        (&plugin, "libsso.so", libsso.as_str()),
        (&program, "sasl-sso", "usr/sbin/sasl-sso"),
    ] {
        let built = fs::read(root().join("target/release").join(built))
            .expect("cannot read the binary: run `make build`");
        let packaged =
            fs::read(deb.content.join(packaged)).expect("cannot read the packaged binary");
        assert!(
            built == packaged,
            "the package is older than the binary: run `make deb`"
        );
    }
}

#[test]
fn installation_starts_nothing_and_writes_no_configuration() {
    let scratch = Scratch::new("packages");
    let [plugin, program] = Deb::both(&scratch);
    for deb in [&plugin, &program] {
        assert_eq!(deb.script("conffiles"), "");
        for name in ["preinst", "postinst", "prerm", "postrm"] {
            let script = deb.script(name);
            assert!(!script.contains("/etc/"), "{script}");
            assert!(!script.contains("imapd"), "{script}");
        }
    }
    assert_eq!(plugin.script("postinst"), "");
    let postinst = program.script("postinst");
    let invoked = |script: &str| -> Vec<String> {
        let lines = script.lines().map(str::trim);
        let invoked = lines.filter(|line| line.starts_with("deb-systemd-invoke"));
        invoked.map(str::to_owned).collect()
    };
    // An upgrade restarts a running daemon and leaves the socket alone.
    assert_eq!(
        invoked(&postinst),
        ["deb-systemd-invoke try-restart sasl-sso.service >/dev/null || true"]
    );
    assert_eq!(
        invoked(&program.script("prerm")),
        ["deb-systemd-invoke stop sasl-sso.socket sasl-sso.service >/dev/null || true"]
    );
    assert!(invoked(&program.script("preinst")).is_empty());
    // Units are enabled only if the administrator had enabled them before.
    let enabling = postinst.matches("deb-systemd-helper enable").count();
    let asking = postinst.matches("deb-systemd-helper --quiet was-enabled");
    assert_eq!(enabling, asking.count());
}

#[test]
fn packages_have_the_version_of_the_crate() {
    let scratch = Scratch::new("packages");
    for deb in Deb::both(&scratch) {
        assert_eq!(
            deb.field("Version"),
            env!("CARGO_PKG_VERSION"),
            "debian/changelog"
        );
    }
}

/// Returns the newest version of glibc among the symbols that a binary needs.
fn newest_glibc(binary: &Path) -> (u32, u32) {
    let symbols = run(Command::new("readelf")
        .args(["--wide", "--version-info"])
        .arg(binary));
    let versions = symbols.split_whitespace().filter_map(|word| {
        let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    versions.max().expect("the binary needs no symbol of glibc")
}

#[test]
fn required_versions_are_those_documented() {
    let scratch = Scratch::new("packages");
    let [plugin, program] = Deb::both(&scratch);
    let words: Vec<&str> = GUIDE.split_whitespace().collect();
    let guide = words.join(" ");
    for (deb, binary) in [(&plugin, "libsso.so"), (&program, "sasl-sso")] {
        let (major, minor) = newest_glibc(&root().join("target/release").join(binary));
        let floor = format!("{major}.{minor}");
        assert!(
            guide.contains(&format!("glibc from {floor} on")),
            "{binary} needs {floor}"
        );
        let depends = deb.field("Depends");
        assert!(
            depends.contains(&format!("libc6 (>= {floor})")),
            "{binary}: {depends}"
        );
    }
    assert!(guide.contains("libsasl2 from 2.1.28 on"));
    let depends = plugin.field("Depends");
    assert!(depends.contains("libsasl2-2 (>= 2.1.28)"), "{depends}");
}

#[test]
fn make_uninstall_removes_what_make_install_installs() {
    let scratch = Scratch::new("install");
    let destination = scratch.join("root");
    let make = |target: &str| {
        let mut make = Command::new("make");
        make.arg("-C").arg(root()).arg(target);
        run(make.arg(format!("DESTDIR={}", destination.display())));
    };
    make("install");
    let installed = files(&destination);
    for end in [
        "/man8/sasl-sso.8",
        "/man5/sasl-sso.conf.5",
        "/sbin/sasl-sso",
        "/_sasl-sso",
    ] {
        assert!(
            installed.iter().any(|file| file.ends_with(end)),
            "{installed:?}"
        );
    }
    make("uninstall");
    assert_eq!(files(&destination), BTreeSet::new());
}

#[test]
fn bash_completes_a_command() {
    let scratch = Scratch::new("packages");
    let [_, program] = Deb::both(&scratch);
    let script = program
        .content
        .join("usr/share/bash-completion/completions/sasl-sso");
    let complete =
        "source \"$1\"; COMP_WORDS=(sasl-sso che); COMP_CWORD=1; COMP_LINE='sasl-sso che'
        $(complete -p sasl-sso | sed 's/.*-F \\([^ ]*\\).*/\\1/') sasl-sso che sasl-sso
        echo \"${COMPREPLY[@]}\"";
    let output = run(Command::new("bash")
        .args(["-c", complete, "bash"])
        .arg(script));
    assert_eq!(output, "check\n");
}
