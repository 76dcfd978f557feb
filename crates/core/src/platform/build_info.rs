//! The identity of a build: it shows whether a plugin file and a program belong together, without
//! loading the plugin.

#![forbid(unsafe_code)]

/// The prefix of the stamp in a file.
const BEGIN: &str = "sasl-sso-build:";

/// The stamp of this build: the version, and a digest of the sources.
pub const STAMP: &str = concat!(
    "sasl-sso-build:",
    env!("CARGO_PKG_VERSION"),
    ":",
    env!("SSO_SOURCES"),
    ";"
);

/// Finds a stamp in the bytes of a file. Returns the version and the digest.
pub fn find(bytes: &[u8]) -> Option<(String, String)> {
    let begin = BEGIN.as_bytes();
    let places = (0..bytes.len().saturating_sub(begin.len()))
        .filter(|place| bytes[*place] == begin[0] && bytes[*place..].starts_with(begin));
    places
        .filter_map(|place| read(&bytes[place + begin.len()..]))
        .next()
}

/// The version and the digest of this build.
pub fn ours() -> (String, String) {
    find(STAMP.as_bytes()).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<(String, String)> {
    let end = bytes.iter().take(64).position(|byte| *byte == b';')?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let (version, digest) = text.split_once(':')?;
    let is_digest = digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| (version.to_owned(), digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_found_among_other_bytes() {
        let file = [
            b"\x7fELF sasl-sso-build: sasl-sso-build:",
            STAMP.as_bytes(),
            b"\0",
        ]
        .concat();
        let (version, digest) = find(&file).unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        assert_eq!(digest.len(), 16);
        assert_eq!(ours(), (version, digest));
        assert_eq!(find(b"sasl-sso-build:1.0"), None);
        assert_eq!(find(b""), None);
    }
}
