//! Fuzz targets for keys, in files and as issuers publish them.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::fuzz_support::input::parts;
use crate::fuzz_support::policy::{InMemory, NoLog, STOPPED_CLOCK};
use crate::jwt::keys::file_source::FileKeySource;
use crate::jwt::keys::inspect;
use crate::jwt::keys::inspect::KeyReport;
use crate::jwt::keys::jwk_set;
use crate::jwt::keys::jwk_set::Secrets;
use crate::jwt::keys::{pem, remote_source, shared_jwks};
use crate::platform::clock::Clock;
use crate::policy::jws_algorithm::Algorithm;

/// A published key set. `check` and a login find the same keys, a secret is never used, and never
/// shown.
pub(crate) fn jwks(data: &[u8]) {
    let ours = jwk_set::read(data, Secrets::Taken);
    let published = jwk_set::read(data, Secrets::Ignored);
    assert_eq!(ours.is_ok(), published.is_ok());
    let (Ok(ours), Ok(published)) = (ours, published) else {
        return;
    };
    let entries = jwk_set::entries(data).expect("keys");
    let reports: Vec<KeyReport> = entries.iter().take(100).map(inspect::report).collect();
    let usable = reports
        .iter()
        .filter_map(|report| report.usable.as_ref().ok());
    let found = published.keys.iter();
    let found: Vec<Vec<Algorithm>> = found.map(|key| key.algorithms().collect()).collect();
    let sorted = |mut names: Vec<Algorithm>| {
        names.sort_by_key(|algorithm| algorithm.name());
        names
    };
    let usable: Vec<_> = usable.cloned().map(sorted).collect();
    assert_eq!(usable, found.into_iter().map(sorted).collect::<Vec<_>>());
    assert!(published.keys.len() <= ours.keys.len());
    for key in &published.keys {
        for algorithm in key.algorithms() {
            assert!(!algorithm.name().starts_with("HS"));
            assert!(!key.verifies(algorithm, b"message", &[1; 64]));
        }
    }
    let names: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.text("kid"))
        .collect();
    for entry in &entries {
        let secrets = ["k", "d", "p", "q"].map(|name| entry.text(name));
        for secret in secrets
            .into_iter()
            .flatten()
            .filter(|secret| secret.len() > 40)
        {
            let is_a_name = names.iter().any(|kid| kid.contains(secret));
            let shows = |line: &String| line.contains(secret) && !is_a_name;
            assert!(!ours.unusable.iter().any(shows), "{:?}", ours.unusable);
        }
    }
}

/// The metadata of an issuer. Keys are fetched only over TLS, or from this host if the issuer is on
/// it.
pub(crate) fn metadata(data: &[u8]) {
    for (document, issuer) in [
        ("https://sso.univ.example/x", "https://sso.univ.example/"),
        ("http://localhost:1/x", "http://localhost:1/"),
    ] {
        let document = Url::parse(document).expect("a URL");
        let Ok(url) = remote_source::keys_of(data, &document, issuer) else {
            continue;
        };
        let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&url.host_str().unwrap_or(""));
        let is_plain = url.scheme() == "http" && document.scheme() == "http";
        assert!(url.scheme() == "https" || is_plain && is_local, "{url}");
        let said: Value = serde_json::from_slice(data).expect("JSON");
        assert_eq!(said["issuer"], issuer);
        assert_eq!(
            Url::parse(said["jwks_uri"].as_str().expect("text")),
            Ok(url)
        );
    }
}

/// The shared state of an issuer's keys. What is written is parsed to the same.
pub(crate) fn state(data: &[u8]) {
    let Some(state) = shared_jwks::State::decode(data) else {
        return;
    };
    assert!(data.starts_with(&state.encode()));
    let now = STOPPED_CLOCK.now();
    let pause = Duration::from_secs(5);
    let later = now.plus(pause);
    assert!(!state.has_failed_within(pause, now) || !state.has_failed_within(pause, later));
    assert!(state.is_failing() || !state.has_failed_within(pause, now));
}

/// A PEM file. Each block is a key or has a problem, and the problem does not show the block.
pub(crate) fn pem(data: &[u8]) {
    let set = pem::read(data);
    let blocks = data.windows(11).filter(|window| window == b"-----BEGIN ");
    assert_eq!(set.keys.len() + set.unusable.len(), blocks.count());
    for reason in &set.unusable {
        assert!(reason.len() < 2_000 && !reason.contains('\n'), "{reason}");
    }
    for key in &set.keys {
        assert!(key.kid().is_none());
        for algorithm in key.algorithms() {
            assert!(!key.verifies(algorithm, b"message", &[1; 64]));
        }
    }
}

/// A directory of up to four files, each after a line of dashes. `check` and a login find the same
/// keys; also with the first file only.
pub(crate) fn key_files(data: &[u8]) {
    let files: Vec<&[u8]> = parts(data).take(4).collect();
    let single = InMemory::new(files[0]);
    agree(&single.path());
    let directory = std::env::temp_dir().join(format!("sso-fuzz-{}", unique()));
    std::fs::create_dir(&directory).expect("a directory");
    for (name, file) in ["a.pem", "b.jwks", ".hidden", "c"].iter().zip(files) {
        std::fs::write(directory.join(name), file).expect("a file");
    }
    let keys = agree(&directory);
    std::fs::remove_file(directory.join(".hidden")).ok();
    assert_eq!(keys, agree(&directory));
    std::fs::remove_dir_all(&directory).expect("a directory");
}

/// The number of keys that `check` and a login find.
fn agree(path: &Path) -> usize {
    let examined = FileKeySource::new(path.to_owned()).examine();
    let found = FileKeySource::new(path.to_owned()).current(STOPPED_CLOCK.now(), &NoLog);
    let count = found.as_ref().map_or(0, |set| set.keys.len());
    assert_eq!(found.is_ok(), !examined.keys.is_empty());
    assert_eq!(examined.keys.len(), count);
    assert!(count > 0 || !examined.unusable.is_empty());
    count
}

/// A number that no other call in any process returns at the same time.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}
