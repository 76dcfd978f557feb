//! The bill of materials: the crates linked into the binaries, and their licenses.

use super::deb::{Deb, root, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use test_support::scratch::Scratch;

/// Returns the checksums in Cargo.lock by name and version.
fn locked() -> BTreeMap<(String, String), Option<String>> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("cannot read Cargo.lock");
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let field = |name: &str| {
            let start = format!("{name} = \"");
            let value = package.lines().find_map(|line| line.strip_prefix(&start))?;
            Some(value.trim_end_matches('"').to_owned())
        };
        let name = field("name").expect("the package has no name");
        (
            (name, field("version").expect("the package has no version")),
            field("checksum"),
        )
    });
    packages.collect()
}

/// Returns the crates that are linked according to cargo, without procedural macros and
/// dependencies of build scripts and tests.
fn linked() -> Vec<(String, String)> {
    let arguments = "tree --locked --offline --package libsso --package sasl-sso --edges normal,no-proc-macro \
         --prefix none --format {p}";
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments.split(' ')).current_dir(root());
    let mut crates: Vec<(String, String)> = run(&mut cargo)
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("the line has no name").to_owned();
            let version = words
                .next()
                .expect("the line has no version")
                .trim_start_matches('v')
                .to_owned();
            (name, version)
        })
        .collect();
    crates.sort();
    crates.dedup();
    crates
}

fn read_bill(deb: &Deb, name: &str) -> Value {
    let text = deb.read(&format!("usr/share/doc/{name}/sbom.cdx.json.gz"));
    serde_json::from_str(&text).expect("the bill of materials is not JSON")
}

#[test]
fn bill_of_materials_lists_exactly_the_linked_crates() {
    let scratch = Scratch::new("bill");
    let lock = locked();
    let linked = linked();
    // Checks the list itself with crates that are known to be linked, or not.
    for (name, is_linked) in [
        ("aws-lc-sys", true),
        ("rustls", true),
        ("bindgen", false),
        ("rcgen", false),
    ] {
        assert_eq!(
            linked.iter().any(|(linked, _)| linked == name),
            is_linked,
            "{name}"
        );
    }
    for name in ["libsasl2-modules-sso", "sasl-sso"] {
        let bill = read_bill(&Deb::of(&scratch, name), name);
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"]),
            (&"CycloneDX".into(), &"1.5".into())
        );
        let ours = &bill["metadata"]["component"];
        let components = bill["components"]
            .as_array()
            .expect("the bill of materials has no components");
        let mut listed = Vec::new();
        for component in components.iter().chain([ours]) {
            let text = |name: &str| component[name].as_str().expect(name).to_owned();
            let id = (text("name"), text("version"));
            assert!(component["licenses"][0]["expression"].is_string(), "{id:?}");
            assert_eq!(text("purl"), format!("pkg:cargo/{}@{}", id.0, id.1));
            // The standard library comes with the compiler.
            if id.0 == "std" {
                continue;
            }
            let checksum = component["hashes"][0]["content"]
                .as_str()
                .map(str::to_owned);
            assert_eq!(lock.get(&id), Some(&checksum), "{id:?}");
            listed.push(id);
        }
        listed.sort();
        assert_eq!(listed, linked);
    }
}

#[test]
fn every_linked_crate_has_its_license() {
    let scratch = Scratch::new("licenses");
    for name in ["libsasl2-modules-sso", "sasl-sso"] {
        let deb = Deb::of(&scratch, name);
        let texts = deb.read(&format!("usr/share/doc/{name}/third-party-licenses.gz"));
        let copyright = deb.read(&format!("usr/share/doc/{name}/copyright"));
        let is_third_party = |name: &str| !["libsso", "sasl-sso", "sso-core"].contains(&name);
        for (linked, version) in linked().iter().filter(|(name, _)| is_third_party(name)) {
            assert!(
                texts
                    .lines()
                    .any(|line| line == format!("{linked} {version}")),
                "{linked}"
            );
            assert!(
                copyright.contains(&format!(" crates/{linked}-{version}/*\n")),
                "{linked}"
            );
        }
        for notice in [
            "OpenLDAP Public License",
            "fiat",
            "RSA Data Security",
            "Carnegie Mellon",
        ] {
            assert!(
                texts.contains(notice) || copyright.contains(notice),
                "{notice}"
            );
        }
    }
}
