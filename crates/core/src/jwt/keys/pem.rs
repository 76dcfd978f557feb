//! Parses keys in PEM (RFC 7468), as Cyrus' httpd does for `http_jwt_key_dir`: any number of blocks
//! in a file, with text around them; `PUBLIC KEY` for public keys and `HMAC KEY` for shared
//! secrets.

#![forbid(unsafe_code)]

use super::key_set::KeySet;
use super::verification_key::Key;
use crate::platform::log::quoted;

/// The keys of a file, and the problems of blocks that are no keys.
pub(crate) fn read(bytes: &[u8]) -> KeySet {
    let mut set = KeySet::default();
    for (index, block) in blocks(bytes).enumerate() {
        match key(block) {
            Ok(key) => set.keys.push(key),
            Err(problem) => set.unusable.push(format!("block {}: {problem}", index + 1)),
        }
    }
    set
}

/// The parts of a file that each begin with a PEM header.
fn blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut starts: Vec<usize> = bytes
        .windows(BEGIN.len())
        .enumerate()
        .filter(|(_, window)| *window == BEGIN)
        .map(|(start, _)| start)
        .collect();
    starts.push(bytes.len());
    let ranges: Vec<_> = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.into_iter().map(|range| &bytes[range])
}

fn key(block: &[u8]) -> Result<Key, String> {
    // The library's error message could show parts of a secret.
    let block = pem::parse(block).map_err(|_| "is not PEM as it must be written")?;
    match block.tag() {
        "PUBLIC KEY" => Key::from_der(block.contents()).map_err(str::to_owned),
        "HMAC KEY" => Key::secret(block.contents()).map_err(str::to_owned),
        tag if tag.ends_with("PRIVATE KEY") => Err(
            "is a private key, which only the issuer must have; leave the PUBLIC KEY here"
                .to_owned(),
        ),
        tag => Err(format!(
            "is {}, neither a PUBLIC KEY nor an HMAC KEY",
            quoted(tag)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::jws_algorithm::Algorithm;

    const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n\
        q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n\
        -----END PUBLIC KEY-----\n";

    fn hmac(length: usize) -> String {
        let secret = pem::Pem::new("HMAC KEY", vec![7; length]);
        pem::encode(&secret)
    }

    #[test]
    fn several_keys_in_a_file_and_text_around_them() {
        let file = format!(
            "the webmail's, since May\r\n{P256}and of the \u{e9}cole\n{}",
            hmac(64)
        );
        let set = read(file.as_bytes());
        assert_eq!(set.unusable, Vec::<String>::new());
        assert_eq!(set.keys.len(), 2);
        assert!(set.keys[0].fits(Algorithm::Es256));
        assert!(set.keys[1].fits(Algorithm::Hs512));
        let latin1 = [b"\xe9cole\n", P256.as_bytes()].concat();
        assert_eq!(read(&latin1).keys.len(), 1);
        let windows = P256.replace('\n', "\r\n");
        assert_eq!(read(windows.as_bytes()).keys.len(), 1);
    }

    #[test]
    fn malformed_block_does_not_affect_other_keys() {
        let private = P256.replace("PUBLIC KEY", "EC PRIVATE KEY");
        let certificate = P256.replace("PUBLIC KEY", "CERTIFICATE");
        let broken = P256.replace("MFkw", "!!!!");
        let cut = &P256[..60];
        let file = [&broken, &private, P256, &certificate, &hmac(31), cut].concat();
        let set = read(file.as_bytes());
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.unusable.len(), 5, "{:?}", set.unusable);
        assert!(set.unusable[1].contains("only the issuer"));
        assert!(set.unusable[3].contains("32 bytes"));
        assert!(read(b"").keys.is_empty());
        // A malformed secret does not appear in the message.
        let secret = hmac(64);
        let body = &secret.lines().nth(1).unwrap()[..20];
        for wrong in [
            secret.replace("\n-----END", "\n\n-----END"),
            secret.replace("-----END HMAC", "-----END HMAK"),
            secret.replace(body, &format!("{body}!")),
        ] {
            let unusable = read(wrong.as_bytes()).unusable;
            assert!(!unusable.concat().contains(&body[..8]), "{unusable:?}");
        }
        assert!(read(b"no key at all").keys.is_empty());
    }
}
