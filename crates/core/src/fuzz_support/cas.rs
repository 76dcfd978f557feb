//! Fuzz targets for CAS replies.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::fmt::Write;
use std::sync::OnceLock;

use crate::cas::CasValidator;
use crate::cas::response::{self, Success};
use crate::config::Config;
use crate::fuzz_support::policy::Table;
use crate::trace::{CheckObserver, Checks};

/// A reply. An observer does not change the verdict. An accepted user came through allowed proxies
/// and has the name in the reply. A parsed reply that is serialized again is parsed to the same.
pub(crate) fn reply(data: &[u8]) {
    let read = response::read(data);
    for cas in validators() {
        let verdict = cas.validate_reply(data, Checks::new(CheckObserver::NONE));
        let tell = |seen| assert!(!format!("{seen:?}").is_empty());
        let watched = cas.validate_reply(data, Checks::new(CheckObserver::new(&tell)));
        assert_eq!(verdict, watched);
        let Ok(principal) = verdict else {
            continue;
        };
        let success = read.as_ref().expect("a success");
        let said = match &cas.config().user_attribute {
            None => Ok(success.user.as_str()),
            Some(attribute) => success.only_value(attribute),
        };
        assert_eq!(said, Ok(principal.as_str()));
        assert!(cas.config().user_attribute.is_some() || !success.proxies.is_empty());
        for proxy in &success.proxies {
            assert!(
                proxy.starts_with("https://webmail.univ.example/"),
                "{proxy}"
            );
        }
    }
    if let Ok(success) = read {
        let written = written(&success);
        assert_eq!(response::read(written.as_bytes()), Ok(success), "{written}");
    }
}

/// The user and the proxies of a successful reply.
pub(crate) fn user_and_proxies(data: &[u8]) -> Option<(String, Vec<String>)> {
    let success = response::read(data).ok()?;
    Some((success.user, success.proxies))
}

/// Two validators: one uses `cas:user`, the other an attribute.
fn validators() -> &'static [CasValidator; 2] {
    static VALIDATORS: OnceLock<[CasValidator; 2]> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let usual = [
            ("caspt_url", "https://cas.univ.example/cas"),
            ("caspt_proxies", "https://webmail.univ.example/*"),
        ];
        let strict = [
            ("caspt_allow_direct", "yes"),
            ("caspt_user_attribute", "uid"),
            ("caspt_require", "role=mail unit=it|physics"),
        ];
        [usual.to_vec(), [&usual[..], &strict].concat()].map(|options| {
            let config = Config::read(&Table(&options)).expect("a configuration");
            CasValidator::new(config.cas.expect("CAS"))
        })
    })
}

fn written(success: &Success) -> String {
    let mut text = String::from("<c:serviceResponse xmlns:c='http://www.yale.edu/tp/cas'>");
    let user = escaped(&success.user);
    let _ = write!(
        text,
        "<c:authenticationSuccess><c:user>{user}</c:user><c:attributes>"
    );
    for (name, value) in success.pairs() {
        let _ = match value {
            Some(value) => {
                let (name, value) = (escaped(name), escaped(value));
                write!(text, "<c:attribute name=\"{name}\" value=\"{value}\"/>")
            }
            None => write!(text, "<c:{name}><c:more/></c:{name}>"),
        };
    }
    text.push_str("</c:attributes><c:proxies>");
    for proxy in &success.proxies {
        let _ = write!(text, "<c:proxy>{}</c:proxy>", escaped(proxy));
    }
    text + "</c:proxies></c:authenticationSuccess></c:serviceResponse>"
}

/// Escapes all characters except those that are unambiguous and those without an escape.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_alphanumeric() => c.to_string(),
        '\t' | '\n' | '\r' => format!("&#{};", u32::from(c)),
        c if c.is_control() || u32::from(c) >= 0xfffe => c.to_string(),
        c => format!("&#x{:x};", u32::from(c)),
    };
    text.chars().map(escape).collect()
}
