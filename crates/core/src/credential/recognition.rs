//! Decides whether the text in the place of a password is a credential, which may be broken or
//! decorated, or an ordinary password.
//!
//! A credential must not be tried as a password, because that would send it to whoever checks
//! passwords. A password must not be taken for a credential, because its owner could not log in. So
//! each form below is one that no pass phrase has by chance.

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{self, GeneralPurpose};
use zeroize::Zeroizing;

use super::CredentialKind;
use crate::platform::log::is_hidden;

/// The prefixes of CAS's tickets: those that are accepted (`PT-`, `ST-`), and those that are
/// another party's secret (CAS protocol 3.0, section 3).
const TICKETS: [&[u8]; 6] = [b"PT-", b"ST-", b"PGT-", b"PGTIOU-", b"TGT-", b"LT-"];

/// The minimum number of bytes after the prefix of a ticket: if the text begins with the prefix,
/// and if the prefix is inside the text.
const MIN_TICKET_BYTES: usize = 2;
const MIN_EMBEDDED_TICKET_BYTES: usize = 16;

/// The length of the shortest header of a signed token, `{"alg":"X25"}`, in characters of base64.
const MIN_HEADER_CHARS: usize = 16;

/// The parameters of OAuth 2.0 and OpenID Connect whose value is a token.
const PARAMETERS: [&[u8]; 3] = [b"access_token", b"id_token", b"refresh_token"];

/// The kind of credential that the text is meant to be; `None` for an ordinary password.
pub(crate) fn kind(password: &[u8]) -> Option<CredentialKind> {
    let alone = without_decoration(password);
    if is_ticket(alone) {
        return Some(CredentialKind::Ticket);
    }
    if is_token(alone) || holds_token(password) {
        return Some(CredentialKind::Token);
    }
    holds_ticket(alone).then_some(CredentialKind::Ticket)
}

/// Removes what a client or a copy adds around a credential: white space, quotes, brackets, a byte
/// order mark and other invisible characters.
fn without_decoration(bytes: &[u8]) -> &[u8] {
    let is_around =
        |c: char| c.is_whitespace() || is_hidden(c) || matches!(c, '"' | '\'' | '`' | '<' | '>');
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_matches(is_around).as_bytes(),
        // 0xa0 is the no-break space of Latin-1.
        Err(_) => {
            let is_around = |byte: &u8| is_around(char::from(*byte));
            let Some(start) = bytes.iter().position(|byte| !is_around(byte)) else {
                return &[];
            };
            let end = bytes.iter().rposition(|byte| !is_around(byte));
            bytes.get(start..=end.unwrap_or(start)).unwrap_or_default()
        }
    }
}

/// Whether the whole text looks like a ticket, even if it is too long for one.
fn is_ticket(bytes: &[u8]) -> bool {
    let is_of = |prefix: &&[u8]| {
        let rest = bytes.strip_prefix(*prefix);
        rest.is_some_and(|rest| rest.len() >= MIN_TICKET_BYTES)
    };
    TICKETS.iter().any(is_of) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Whether the text contains a ticket, as in `ticket=PT-…` or in a URL. The ticket must be too long
/// to guess and contain a digit.
fn holds_ticket(bytes: &[u8]) -> bool {
    let is_of_ticket =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let mut words = bytes.split(|byte| !is_of_ticket(byte));
    words.any(|word| {
        let is_of = |prefix: &&[u8]| {
            let rest = word.strip_prefix(*prefix).unwrap_or_default();
            rest.len() >= MIN_EMBEDDED_TICKET_BYTES && rest.iter().any(u8::is_ascii_digit)
        };
        TICKETS.iter().any(is_of)
    })
}

/// Whether the whole text looks like a token, even if it is broken: a JSON object in base64, of
/// either alphabet and with or without padding, and more parts.
fn is_token(bytes: &[u8]) -> bool {
    let bytes = match bytes.split_at_checked(b"Bearer".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer") => token,
        _ => bytes,
    };
    let bytes = bytes.trim_ascii_start();
    let mut parts = bytes.splitn(3, |byte| *byte == b'.');
    let (Some(header), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    decode(header).is_some_and(|header| {
        let header = header.trim_ascii();
        header.starts_with(b"{") && header.ends_with(b"}")
    })
}

/// Whether the text contains a token: in a message of XOAUTH2 or OAUTHBEARER, in an issuer's
/// response, in a parameter, broken into lines, or any of that in base64.
fn holds_token(bytes: &[u8]) -> bool {
    if is_in_message(bytes) || holds_jws(bytes) {
        return true;
    }
    let visible: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(u8::is_ascii_graphic).collect());
    if visible.len() != bytes.len() && holds_jws(&visible) {
        return true;
    }
    decode(without_decoration(&visible))
        .is_some_and(|inner| is_in_message(&inner) || holds_jws(&inner))
}

/// Whether the text contains a JWS or a JWE, in compact or JSON serialization (RFC 7515, section
/// 7): it has the header in base64, which no pass phrase has.
fn holds_jws(bytes: &[u8]) -> bool {
    let is_of_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/');
    let is_json = contains(bytes, b"\"protected\"");
    let mut start = 0;
    for word in bytes.split(|byte| !is_of_base64(byte)) {
        let end = start + word.len();
        start = end + 1;
        if word.len() < MIN_HEADER_CHARS {
            continue;
        }
        let padding = bytes[end..].iter().take_while(|byte| **byte == b'=');
        let behind = &bytes[end + padding.count()..];
        let is_compact = behind
            .strip_prefix(b".")
            .is_some_and(|rest| rest.contains(&b'.'));
        if (is_compact || is_json) && ends_in_header(word) {
            return true;
        }
    }
    false
}

/// Whether a word of base64 is a JSON object, or ends in one. The word is not decoded: its
/// beginning and its end tell, for each of the four positions in a group of characters. So a
/// hostile word costs no more than its length.
fn ends_in_header(word: &[u8]) -> bool {
    let ends_object: [bool; 4] = std::array::from_fn(|surplus| {
        let tail = (MIN_HEADER_CHARS - 4 + surplus).min(word.len());
        let tail = decode(&word[word.len() - tail..]);
        tail.is_some_and(|tail| tail.trim_ascii_end().ends_with(b"}"))
    });
    let last = (word.len() + 1).saturating_sub(MIN_HEADER_CHARS);
    (0..last).any(|at| {
        // Two of 64 × 64 pairs begin like this: `{"`, or white space in between.
        matches!(word[at..], [b'e', b'w'..=b'y' | b'3', ..])
            && ends_object[(word.len() - at) % 4]
            && decode(&word[at..at + 4]).is_some_and(|start| {
                matches!(start[..], [b'{', b'"' | b' ' | b'\t' | b'\r' | b'\n', ..])
            })
    })
}

/// Whether the text is a message or a parameter that carries a token, which may be opaque:
/// `auth=Bearer …` (RFC 7628, section 3.1), `access_token=…` (RFC 6750, section 2.2),
/// `"access_token": "…"` (RFC 6749, section 5.1), or `Bearer …` alone.
fn is_in_message(bytes: &[u8]) -> bool {
    let lower: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.to_ascii_lowercase());
    let is_parameter = |name: &&[u8]| {
        let starts = positions(&lower, name);
        starts.into_iter().any(|start| {
            let behind = &lower[start + name.len()..];
            let behind = behind
                .strip_prefix(b"\"")
                .unwrap_or(behind)
                .trim_ascii_start();
            let value = match behind {
                [b'=' | b':', value @ ..] => value,
                [b'%', b'3', b'd' | b'a', value @ ..] => value,
                _ => return false,
            };
            !value.trim_ascii_start().is_empty()
        })
    };
    if contains(&lower, b"auth=bearer ") || PARAMETERS.iter().any(is_parameter) {
        return true;
    }
    // RFC 6750, section 2.1. A pass phrase may begin with that word.
    let Some(token) = without_decoration(&lower).strip_prefix(b"bearer") else {
        return false;
    };
    let is_of_token = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    let word = token.trim_ascii_start();
    word.len() < token.len()
        && word.len() >= MIN_EMBEDDED_TICKET_BYTES
        && word.iter().all(is_of_token)
        && word.iter().any(u8::is_ascii_digit)
}

/// Decodes base64 of either alphabet, with or without padding.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    /// Unused bits of the last character are ignored.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        general_purpose::NO_PAD.with_decode_allow_trailing_bits(true),
    );
    let as_in_urls = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    let last = text.iter().rposition(|byte| *byte != b'=');
    let text = &text[..last.map_or(0, |last| last + 1)];
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().map(as_in_urls).collect());
    LENIENT.decode(&*text).ok().map(Zeroizing::new)
}

fn positions(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    let found = windows.filter(|(_, window)| *window == wanted);
    found.map(|(at, _)| at).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    const JWS: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";

    fn is(text: &str) -> Option<CredentialKind> {
        kind(text.as_bytes())
    }

    #[test]
    fn tickets_of_all_kinds_are_recognized() {
        for prefix in ["PT-", "ST-", "PGT-", "PGTIOU-", "TGT-", "LT-"] {
            for rest in ["12", "1-aBcDeFgHiJkLmNoP-cas", &"x".repeat(1_100)] {
                let ticket = format!("{prefix}{rest}");
                for (before, after) in [
                    ("", ""),
                    (" ", "\r\n"),
                    ("\"", "\""),
                    ("'", "'"),
                    ("<", ">"),
                    ("\u{feff}", ""),
                    ("\u{a0}", "\u{a0}"),
                    ("\u{200b}", "\u{3000}"),
                    ("\0", "\0"),
                ] {
                    let text = format!("{before}{ticket}{after}");
                    assert_eq!(is(&text), Some(CredentialKind::Ticket), "{text:?}");
                }
            }
            let secret = format!("{prefix}27-kq3XfWmZ0pLr8sVt-cas.univ.fr");
            for text in [
                format!("ticket={secret}"),
                format!("https://webmail.univ.fr/?ticket={secret}&x=1"),
                format!("the ticket: {secret}"),
                format!("{{\"ticket\":\"{secret}\"}}"),
            ] {
                assert_eq!(is(&text), Some(CredentialKind::Ticket), "{text:?}");
            }
        }
        assert_eq!(kind(b"\xa0PT-12345\xa0"), Some(CredentialKind::Ticket));
    }

    #[test]
    fn decorated_token_is_recognized() {
        let wrapped = |before: &str, after: &str| format!("{before}{JWS}{after}");
        for text in [
            JWS.to_owned(),
            wrapped("\"", "\""),
            wrapped("'", "'"),
            wrapped("\u{feff}", ""),
            wrapped("\u{a0}", "\u{a0}"),
            wrapped("\u{2060}", "\u{200b}"),
            wrapped("Bearer ", ""),
            wrapped("bearer", ""),
            wrapped("Authorization: Bearer ", "\r\n"),
            wrapped("access_token=", ""),
            wrapped("access_token=", "&token_type=Bearer"),
            wrapped("#access_token%3D", ""),
            wrapped("{\"access_token\":\"", "\",\"expires_in\":300}"),
            wrapped("token", ""),
            wrapped("user=alice\x01auth=Bearer ", "\x01\x01"),
            wrapped("n,a=alice,\x01host=mail\x01auth=Bearer ", "\x01\x01"),
            wrapped("xx", ".more.parts"),
            JWS.replace('.', ".\n"),
            JWS.replace("JS", "J\r\n S"),
            JWS.replace("JS", "J\u{200b}S"),
            JWS.replacen('.', "==.", 1),
            STANDARD.encode(JWS),
            URL_SAFE_NO_PAD.encode(wrapped("user=alice\x01auth=Bearer ", "\x01\x01")),
            STANDARD.encode("n,a=alice,\x01auth=Bearer opaque-one\x01\x01"),
            format!("\"{}\"", STANDARD.encode(JWS)),
            "user=alice\x01auth=Bearer opaque\x01\x01".to_owned(),
            "user=alice auth=bearer opaque".to_owned(),
            "access_token=opaque".to_owned(),
            "{\"refresh_token\" : \"opaque\"}".to_owned(),
            "Bearer kq3XfWmZ0pLr8sVtu1".to_owned(),
            "{\"payload\":\"eyJzdWIiOiJhIn0\",\"protected\":\"eyJhbGciOiJSUzI1NiJ9\"}".to_owned(),
            // {"alg":"none"}, and a header with white space in it.
            "x:eyJhbGciOiJub25lIn0.e30.".to_owned(),
            "x:eyAiYWxnIjogIlJTMjU2IiB9.e30.c2ln".to_owned(),
            "x:ewogICJhbGciOiAiUlMyNTYiCn0K.e30.c2ln".to_owned(),
        ] {
            assert_eq!(is(&text), Some(CredentialKind::Token), "{text:?}");
        }
        let latin = [b"\xa0", JWS.as_bytes(), b"\xe9"].concat();
        assert_eq!(kind(&latin), Some(CredentialKind::Token));
    }

    #[test]
    fn pass_phrase_is_not_recognized() {
        for text in [
            "",
            " ",
            "\"\"",
            "secret",
            "correct horse battery staple",
            "ST-",
            "LT-1",
            "TGT",
            "ST-Pauli 1910",
            "LT- 12345",
            "pt-12345",
            "xPT-12345",
            "my.pass.word",
            "eye.of.tiger",
            "a.b.c",
            "1.2.3.4",
            "the30.06.1990",
            "born.e30.1990.x",
            "monkey.e30.x",
            "theyJoined.the.army",
            "heyJude.by.the.Beatles",
            "surveyKing.of.hearts",
            "eyJhbGciOiJSUzI1NiJ9",
            "eyJhbGciOiJSUzI1NiJ9.e30",
            "eyJoined.e30.c2ln",
            "bearer of bad news",
            "Bearer",
            "bearer.of.news",
            "Bearer antidisestablishment",
            "the access token is gone",
            "access_token",
            "access_token=",
            "my access_token 1",
            "auth=basic secret",
            "take the ST-27 to Zurich",
            "see PT-109 with Kennedy",
            "ticket=PT-12345",
            "LT-Dan, 1994!",
            "PT-\u{e9}t\u{e9}",
            "{\"a\":1}.x.y",
            "aGVsbG8gd29ybGQ=",
            "aGVsbG8.d29y.bGQ",
            "\u{feff}secret\u{a0}",
            "p\u{e4}ss.w\u{f6}rt.\u{fc}",
            "0123456789abcdef0123456789abcdef",
            "TGT of the PGT and the LT",
        ] {
            assert_eq!(is(text), None, "{text:?}");
        }
        assert_eq!(kind(b"PT-1234\xe9"), None);
        assert_eq!(kind(b"\xff\xfe.\xfd.\xfc"), None);
        assert_eq!(kind(b"\xa0"), None);
    }

    #[test]
    fn longest_hostile_password_is_classified_without_panic() {
        for piece in ["eyJ", "fQ", "eyJ9.", "e", "access_token", "PT-", "="] {
            let text = piece.repeat(60_000 / piece.len());
            // The call returns and does not panic; the result does not matter.
            let _ = is(&text);
        }
    }
}
