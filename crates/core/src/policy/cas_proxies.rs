//! Which proxies may present a user: the policy on the proxy chain of a ticket.
//!
//! Some CAS servers issue proxy tickets for any target to any portal, so only this policy protects
//! everybody's mail from the portals.

#![forbid(unsafe_code)]

use std::fmt;

use url::Url;

use crate::error::{Failure, Reason};
use crate::platform::log::quoted;
use crate::trace::{Check, Checks, Comparison, Describe, Step};

/// `caspt_proxies` and `caspt_allow_direct`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyPolicy {
    patterns: Vec<Pattern>,
    allow_direct: bool,
}

/// A proxy callback URL, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Whole(String),
    Beginning(String),
}

impl ProxyPolicy {
    /// Parses patterns. Returns the policy, and the problems of the patterns that are rejected.
    ///
    /// A pattern must contain the whole host: `https://mail.univ.fr*` would allow
    /// `https://mail.univ.fr.evil.example/`.
    pub fn parse(patterns: &[String], allow_direct: bool) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for text in patterns {
            match Pattern::parse(text) {
                Ok(pattern) => parsed.push(pattern),
                Err(problem) => problems.push(format!("\"{text}\" {problem}")),
            }
        }
        let policy = Self {
            patterns: parsed,
            allow_direct,
        };
        (policy, problems)
    }

    /// Requires that each proxy of a chain matches a pattern. The chain is in the order of the reply
    /// (CAS protocol 3.0, section 2.6.2: the most recent proxy first).
    ///
    /// # Errors
    /// [`Reason::ProxyNotAllowed`] if a proxy matches no pattern, [`Reason::DirectNotAllowed`] if
    /// the chain is empty and that is not allowed.
    pub fn check(&self, chain: &[String], checks: &mut Checks<'_>) -> Result<(), Failure> {
        if chain.is_empty() {
            checks.run(self.check_direct())?;
        }
        for proxy in chain {
            checks.run(self.check_proxy(proxy))?;
        }
        Ok(())
    }

    /// Requires that a ticket without a proxy is allowed.
    fn check_direct(&self) -> Check<(), impl Describe> {
        let result = match self.allow_direct {
            true => Ok(()),
            false => {
                let what =
                    "the ticket was not got through a proxy; caspt_allow_direct would allow that";
                Err(Failure::new(Reason::DirectNotAllowed, what))
            }
        };
        Check::new(Step::Proxy, result, || Comparison::actual("none"))
    }

    /// Requires that one proxy matches a pattern.
    fn check_proxy(&self, proxy: &str) -> Check<(), impl Describe> {
        let pattern = self.patterns.iter().find(|pattern| pattern.matches(proxy));
        let result = match pattern {
            Some(_) => Ok(()),
            None => {
                let what = format!("proxy {proxy} matches no pattern of caspt_proxies");
                Err(Failure::new(Reason::ProxyNotAllowed, what))
            }
        };
        Check::new(Step::Proxy, result, move || {
            let expected = match pattern {
                Some(pattern) => pattern.to_string(),
                None => {
                    let patterns = self.patterns.iter().map(Pattern::to_string);
                    patterns.collect::<Vec<_>>().join(" ")
                }
            };
            Comparison::actual(quoted(proxy)).expected(expected)
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (beginning, is_complete) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, false),
            None => (text, true),
        };
        if beginning.contains('*') {
            return Err("has a * elsewhere than at its end");
        }
        let url = Url::parse(beginning)
            .map_err(|_| "is not a URL; write https://webmail.univ.fr/cas/proxy or …/*")?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err("is not a web URL; write https://webmail.univ.fr/…");
        }
        let after_scheme = beginning.split_once("://").map_or("", |(_, rest)| rest);
        if !is_complete && !after_scheme.contains('/') {
            return Err("has a * in the host's name; put a / behind the host, then the *");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has a user name before the host");
        }
        if !(is_complete || is_of_rfc_3986(beginning) && stays_below(beginning, "")) {
            return Err(
                "has a dot segment, or characters that a URL does not have; write them \
                        percent-encoded, and no . or .. in the path",
            );
        }
        Ok(if is_complete {
            Self::Whole(text.to_owned())
        } else {
            Self::Beginning(beginning.to_owned())
        })
    }

    fn matches(&self, proxy: &str) -> bool {
        match self {
            Self::Whole(url) => proxy == url,
            Self::Beginning(beginning) => proxy
                .strip_prefix(beginning.as_str())
                .is_some_and(|rest| is_of_rfc_3986(rest) && stays_below(beginning, rest)),
        }
    }
}

/// Formats the pattern as in the option.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(url) => f.write_str(url),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// Whether a text consists of characters that RFC 3986 allows in a URI (section 2), and each `%`
/// begins an encoded byte.
fn is_of_rfc_3986(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => encoded(bytes, at).is_some(),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    })
}

/// Decodes the encoded byte at `at` (RFC 3986, section 2.1).
fn encoded(bytes: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = bytes.get(at..at + 3)? else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether the path of a URL stays below its beginning: whether `rest`, which follows `beginning`,
/// contains no dot segment (RFC 3986, section 3.3). This holds even for a server that decodes the
/// path more than once, treats `\` as `/`, or removes the parameters and blanks of a segment.
/// `rest` must consist of ASCII characters in any encoding, because some servers treat an overlong
/// or full-width dot as a dot.
fn stays_below(beginning: &str, rest: &str) -> bool {
    let without_query = |text: &'_ str| text.find(['?', '#']).unwrap_or(text.len());
    let end = without_query(beginning);
    let rest = match end == beginning.len() {
        true => &rest[..without_query(rest)],
        false => "",
    };
    let Some(decoded) = decode_fully(rest.as_bytes()) else {
        return false;
    };
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    if !decoded.iter().all(is_plain) || decoded.contains(&b'%') {
        return false;
    }
    let Some(path) = decode_fully(&[&beginning.as_bytes()[..end], &decoded].concat()) else {
        return false;
    };
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    !path.split(is_slash).any(|segment| {
        let ends = |byte: &u8| matches!(byte, b';' | b'?' | b'#');
        let name = segment.split(ends).next().unwrap_or_default().trim_ascii();
        !name.is_empty() && name.iter().all(|byte| *byte == b'.' || *byte == b' ')
    })
}

/// The maximum number of times that a URL may be percent-encoded, which is far more than any server
/// decodes. Each time costs a pass over the URL.
const MAX_ENCODINGS: usize = 16;

/// Percent-decodes a text until nothing changes any more; `None` if it is encoded more than
/// [`MAX_ENCODINGS`] times.
fn decode_fully(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = text.to_vec();
    for _ in 0..=MAX_ENCODINGS {
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let found = encoded(&bytes, at);
            decoded.push(found.unwrap_or(*byte));
            at += if found.is_some() { 3 } else { 1 };
        }
        if decoded.len() == bytes.len() {
            return Some(bytes);
        }
        bytes = decoded;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::CheckObserver;

    fn policy(patterns: &[&str], allow_direct: bool) -> ProxyPolicy {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let (policy, problems) = ProxyPolicy::parse(&patterns, allow_direct);
        assert_eq!(problems, Vec::<String>::new());
        policy
    }

    fn verdict(policy: &ProxyPolicy, chain: &[&str]) -> Option<Reason> {
        let chain: Vec<String> = chain.iter().map(|p| (*p).to_owned()).collect();
        let result = policy.check(&chain, &mut Checks::new(CheckObserver::NONE));
        result.err().map(|failure| failure.reason())
    }

    const WEBMAIL: &str = "https://webmail.univ.fr/cas/callback";

    #[test]
    fn empty_pattern_list_allows_no_proxy() {
        let policy = ProxyPolicy::default();
        assert_eq!(verdict(&policy, &[WEBMAIL]), Some(Reason::ProxyNotAllowed));
        assert_eq!(verdict(&policy, &[]), Some(Reason::DirectNotAllowed));
    }

    #[test]
    fn all_proxies_of_the_chain_must_match() {
        let policy = policy(
            &["https://webmail.univ.fr/*", "https://portal.univ.fr/x"],
            false,
        );
        assert_eq!(verdict(&policy, &[WEBMAIL]), None);
        assert_eq!(
            verdict(&policy, &[WEBMAIL, "https://portal.univ.fr/x"]),
            None
        );
        assert_eq!(
            verdict(&policy, &[WEBMAIL, "https://evil.example/"]),
            Some(Reason::ProxyNotAllowed)
        );
        assert_eq!(
            verdict(&policy, &["https://evil.example/", WEBMAIL]),
            Some(Reason::ProxyNotAllowed)
        );
        for climbing in [
            "../x",
            "a/%2E%2e/x",
            "./x",
            "..",
            "..\\x",
            ".%2e?x",
            "..%2fx",
            "%2e%2e%2Fx",
            "x%2f..%2f..%2fx",
            "..%5Cx",
            "..;/x",
            "..;x=1/x",
            "..%3b/x",
        ] {
            let proxy = format!("https://webmail.univ.fr/{climbing}");
            assert_eq!(verdict(&policy, &[&proxy]), Some(Reason::ProxyNotAllowed));
        }
        assert_eq!(
            verdict(&policy, &["https://webmail.univ.fr/a..b?../c"]),
            None
        );
        assert_eq!(
            verdict(&policy, &["https://portal.univ.fr/xy"]),
            Some(Reason::ProxyNotAllowed)
        );
    }

    #[test]
    fn dot_segments_in_any_encoding_do_not_match() {
        let policy = policy(&["https://webmail.univ.fr/app/*", "https://h.fr/a*"], false);
        let verdict = |rest: &str| {
            let proxy = format!("https://webmail.univ.fr/app/{rest}");
            verdict(&policy, &[&proxy])
        };
        for rest in [
            "../x",
            "./x",
            "..",
            ".",
            "...",
            "x/..",
            "x/../y",
            "%2e%2e/x",
            "%2E./x",
            ".%2e",
            "%252e%252e/x",
            "%25252e./x",
            "%252525252e%2e/x",
            "%25%32%65%2e/x",
            "%%32%65./x",
            "..%2fx",
            "..%252fx",
            "..%5cx",
            "..%255cx",
            "..\\x",
            "..;/x",
            "..;a=b/x",
            "..%3b/x",
            "..%253bx/y",
            "..%3fx/y",
            "..%23/y",
            "..%20/x",
            "%20../x",
            ".%20./x",
            "..%00/x",
            "..%2500/x",
            "..%09/x",
            "..%0a/x",
            "..%0d%0a/x",
            ".\t./x",
            "..\t/x",
            "..\n/x",
            "..\u{0}/x",
            ".. /x",
            "%c0%ae%c0%ae/x",
            "%c0%ae./x",
            "%c0%2e./x",
            "%e0%80%ae./x",
            "..%c0%af x",
            "..%c0%afx",
            "%c1%9c../x",
            "\u{ff0e}\u{ff0e}/x",
            "%ef%bc%8e%ef%bc%8e/x",
            "%25ef%25bc%258e./x",
            "..\u{ff0f}x",
            "..%ef%bc%8fx",
            "..\u{2215}x",
            "\u{2024}./x",
            "%e2%80%a4./x",
            "\u{fe52}./x",
            "\u{2025}/x",
            ".\u{200b}./x",
            ".%e2%80%8b./x",
            "..\u{feff}/x",
            "..%ad/x",
            "%u002e%u002e/x",
            "%2",
            "%",
            "%zz",
            "x%2",
            "x\"y",
            "x<y",
            "x{y}",
            "x|y",
            "x^y",
            "x`y",
            "caf\u{e9}",
            "caf%e9",
            "caf%c3%a9",
            "%7f",
        ] {
            assert_eq!(verdict(rest), Some(Reason::ProxyNotAllowed), "{rest:?}");
        }
        for rest in [
            "",
            "cas/callback",
            "a..b",
            "..a",
            "a..",
            ".well-known/x",
            "...a/x",
            "x?../y",
            "x?a=%2e%2e/",
            "x#../y",
            "%20x",
            "a%20b",
            "a%2fb",
            "x;v=1.2/y",
            "x?u=%c3%a9",
            "a//b",
            "%41%2520b",
            "~user/-_.!$&'()*+,;=:@",
        ] {
            assert_eq!(verdict(rest), None, "{rest:?}");
        }
    }

    #[test]
    fn dot_segment_across_the_end_of_the_pattern_does_not_match() {
        for (pattern, rest) in [
            ("https://h.fr/a/.*", "./x"),
            ("https://h.fr/a/%2e*", "%2e/x"),
            ("https://h.fr/a/%*", "2e%2e/x"),
            ("https://h.fr/a/%2*", "e./x"),
            ("https://h.fr/a?b*", "/../../x"),
        ] {
            let (policy, problems) = ProxyPolicy::parse(&[pattern.to_owned()], false);
            let proxy = format!("{}{rest}", pattern.trim_end_matches('*'));
            let is_taken = verdict(&policy, &[&proxy]).is_none();
            // In a query, the text is no path segment.
            assert_eq!(is_taken, pattern.contains('?'), "{pattern}");
            assert_eq!(problems.is_empty(), pattern.contains('?'), "{pattern}");
        }
    }

    #[test]
    fn direct_tickets_need_their_own_option_and_allow_no_proxy() {
        let policy = policy(&[], true);
        assert_eq!(verdict(&policy, &[]), None);
        assert_eq!(verdict(&policy, &[WEBMAIL]), Some(Reason::ProxyNotAllowed));
    }

    #[test]
    fn pattern_that_would_match_another_host_is_rejected() {
        for text in [
            "*",
            "https://*",
            "https://webmail.univ.fr*",
            "https://*.univ.fr/",
            "https://webmail.univ.fr/*/x",
            "https://me@webmail.univ.fr/*",
            "imap://mail.univ.fr/",
            "webmail.univ.fr",
            "https://webmail.univ.fr/a/../*",
            "https://webmail.univ.fr/%2e%2e/*",
            "https://webmail.univ.fr/caf\u{e9}/*",
            "https://webmail.univ.fr/%zz/*",
        ] {
            let (_, problems) = ProxyPolicy::parse(&[text.to_owned()], false);
            assert_eq!(problems.len(), 1, "{text}");
        }
    }

    #[test]
    fn repeatedly_encoded_url_is_refused() {
        let policy = policy(&["https://webmail.univ.fr/app/*"], false);
        // As long as a reply of CAS may be.
        let encoded = format!("https://webmail.univ.fr/app/%{}2fx", "25".repeat(32_000));
        let start = std::time::Instant::now();
        let refused = Some(Reason::ProxyNotAllowed);
        assert_eq!(verdict(&policy, &[&encoded]), refused);
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    }
}
