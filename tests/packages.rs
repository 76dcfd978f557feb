//! The packages that `make deb` makes, and `make install`: what is in them, what they ask of the
//! machine, and what they do to it. `make test-package` installs them.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

#[path = "packages/deb.rs"]
mod deb;
mod harness;
#[path = "packages/linked.rs"]
mod linked;

use deb::{Deb, files, root, said};
use harness::scratch::Scratch;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../docs/administration.md");

#[test]
fn lintian_has_nothing_to_say() {
    let scratch = Scratch::new("lintian");
    let packages = Deb::both(&scratch).map(|deb| deb.path);
    let mut lintian = Command::new("lintian");
    // It leaves files there.
    lintian.env("TMPDIR", scratch.path());
    lintian.args([
        "--allow-root",
        "--display-info",
        "--fail-on",
        "error,warning,info",
    ]);
    let said = said(lintian.args(packages));
    assert_eq!(said, "");
}

#[test]
fn the_packages_have_in_them_what_belongs_there_and_nothing_else() {
    let scratch = Scratch::new("packages");
    let [plugin, program] = Deb::both(&scratch);
    let machine = said(Command::new("gcc").arg("-dumpmachine"));
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
    for example in harness::examples::all() {
        let name = example.file_name().expect("a name").to_string_lossy();
        let packaged = program.read(&format!("usr/share/doc/sasl-sso/examples/{name}"));
        assert_eq!(packaged, fs::read_to_string(&example).expect("an example"));
    }
    // What is packaged is what all other tests have tested.
    for (deb, built, packaged) in [
        (&plugin, "libsso.so", libsso.as_str()),
        (&program, "sasl-sso", "usr/sbin/sasl-sso"),
    ] {
        let built = fs::read(root().join("target/release").join(built)).expect("make build");
        let packaged = fs::read(deb.content.join(packaged)).expect("what is packaged");
        assert!(built == packaged, "not of this build: run `make deb`");
    }
}

#[test]
fn installing_enables_and_starts_nothing_and_writes_no_configuration() {
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
    // An upgrade has a daemon that runs started again, and leaves the socket alone.
    assert_eq!(
        invoked(&postinst),
        ["deb-systemd-invoke try-restart sasl-sso.service >/dev/null || true"]
    );
    assert_eq!(
        invoked(&program.script("prerm")),
        ["deb-systemd-invoke stop sasl-sso.socket sasl-sso.service >/dev/null || true"]
    );
    assert!(invoked(&program.script("preinst")).is_empty());
    // Only what the administrator had enabled before.
    let enabling = postinst.matches("deb-systemd-helper enable").count();
    let asking = postinst.matches("deb-systemd-helper --quiet was-enabled");
    assert_eq!(enabling, asking.count());
}

#[test]
fn the_version_is_said_once() {
    let scratch = Scratch::new("packages");
    for deb in Deb::both(&scratch) {
        assert_eq!(
            deb.field("Version"),
            env!("CARGO_PKG_VERSION"),
            "debian/changelog"
        );
    }
}

/// The newest version of glibc that a binary needs a symbol of.
fn newest_glibc(binary: &Path) -> (u32, u32) {
    let symbols = said(
        Command::new("readelf")
            .args(["--wide", "--version-info"])
            .arg(binary),
    );
    let versions = symbols.split_whitespace().filter_map(|word| {
        let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    versions.max().expect("a symbol of glibc")
}

#[test]
fn it_runs_from_those_versions_on_that_are_promised() {
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
fn what_make_install_brings_make_uninstall_takes_away() {
    let scratch = Scratch::new("install");
    let to = scratch.join("root");
    let make = |target: &str| {
        let mut make = Command::new("make");
        make.arg("-C").arg(root()).arg(target);
        said(make.arg(format!("DESTDIR={}", to.display())));
    };
    make("install");
    let installed = files(&to);
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
    assert_eq!(files(&to), BTreeSet::new());
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
    let said = said(
        Command::new("bash")
            .args(["-c", complete, "bash"])
            .arg(script),
    );
    assert_eq!(said, "check\n");
}
