//! The options of access tokens, `jwt_…`: one issuer, or several with names.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::option_table;
use super::parser::Reader;
use super::server_url::{base_url, server_url};
use crate::platform::log::listed;
use crate::policy::attribute_rules::Rules;
use crate::policy::jws_algorithm::{Algorithm, Family};

/// The maximum number of issuers. Each token is compared with all of them.
const MAX_ISSUERS: usize = 32;

/// The configuration for tokens.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The issuers, at least one.
    pub issuers: Vec<IssuerConfig>,
}

/// The configuration of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// The issuer's name in the options, if there are several issuers.
    pub name: Option<String>,
    /// `jwt_issuer`: the issuer's `iss`.
    pub issuer: Expected,
    /// `jwt_keys`: where the issuer's keys are.
    pub keys: KeysAt,
    /// `jwt_audience`: the allowed `aud` values.
    pub audience: Expected,
    /// `jwt_algorithms`: the allowed algorithms; `None` for all that the keys allow.
    pub algorithms: Option<Vec<Algorithm>>,
    /// `jwt_types`: the allowed `typ` values, in lower case.
    pub types: Vec<String>,
    /// `jwt_user_claim`: the claim with the user name.
    pub user_claim: String,
    /// `jwt_require`: conditions on the claims.
    pub require: Rules,
    /// `jwt_allow_clients`: whether tokens of clients are accepted.
    pub allow_clients: bool,
    /// `jwt_max_age`: the maximum age of a token, if it is limited.
    pub max_age: Option<Duration>,
    /// `jwt_leeway`: the maximum difference of clocks.
    pub leeway: Duration,
    /// `jwt_ca_file`: the CAs that are trusted for the keys, if not the system's.
    pub ca_file: Option<PathBuf>,
    /// `jwt_timeout`: the maximum duration of a validation, from the client's message on.
    pub timeout: Duration,
    /// `jwt_keys_refresh`: how long keys and validated tokens are valid before the keys are read
    /// again.
    pub keys_refresh: Duration,
    /// `jwt_keys_keep`: how long the last keys are used while the issuer does not answer.
    pub keys_keep: Duration,
}

/// The value that a claim must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `*`: any value, or none.
    Any,
    /// One of these values, compared byte by byte.
    OneOf(Vec<String>),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::OneOf(values) => f.write_str(&listed(values)),
        }
    }
}

/// The location of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// A PEM file, a directory of PEM files, or a file with a JWK set.
    Path(PathBuf),
    /// The URL of a JWK set (RFC 7517, section 5).
    Url(Url),
    /// The JWK set that the issuer's metadata name (OpenID Connect Discovery 1.0, section 4).
    Discovery {
        /// The URL of the metadata.
        document: Url,
        /// The issuer that the metadata must name.
        issuer: String,
    },
}

impl JwtConfig {
    /// Reads the options, or returns `None` if neither keys nor issuers are configured.
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let names = reader.words("jwt_issuers");
        if names.is_empty() {
            reader.text("jwt_keys")?;
            let issuers = vec![IssuerConfig::read(reader, None)];
            return Some(Self { issuers });
        }
        check_names(reader, &names);
        let issuers = names
            .iter()
            .filter(|name| is_issuer_name(name))
            .take(MAX_ISSUERS)
            .map(|name| {
                reader.of_issuer(Some(name), |reader| IssuerConfig::read(reader, Some(name)))
            })
            .collect();
        let config = Self { issuers };
        config.check_issuers(reader);
        Some(config)
    }

    /// Two issuers with the same `iss` could not be distinguished.
    fn check_issuers(&self, reader: &mut Reader) {
        let mut seen = HashSet::new();
        for issuer in &self.issuers {
            let values = match &issuer.issuer {
                Expected::Any => vec!["*"],
                Expected::OneOf(values) => values.iter().map(String::as_str).collect(),
            };
            for value in values {
                if !seen.insert(value) {
                    let name = issuer.name.as_deref();
                    reader.of_issuer(name, |reader| {
                        let problem = format!("\"{value}\" is another issuer's as well");
                        reader.fault("jwt_issuer", problem);
                    });
                }
            }
        }
    }

    /// A text of everything that the validation of a token depends on.
    pub(crate) fn policy(&self) -> String {
        format!("{:?}", self.issuers)
    }
}

/// Whether this name of an issuer can be a part of option names.
pub(crate) fn is_issuer_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.len() <= 32 && name.bytes().all(is_letter)
}

fn check_names(reader: &mut Reader, names: &[String]) {
    let mut seen = HashSet::new();
    for name in names {
        if !is_issuer_name(name) {
            let problem = format!("\"{name}\" is not of lower case letters and digits");
            reader.fault("jwt_issuers", problem);
        } else if !seen.insert(name) {
            reader.fault("jwt_issuers", format!("\"{name}\" is there twice"));
        }
    }
    if names.len() > MAX_ISSUERS {
        let problem = format!("has more than {MAX_ISSUERS} names");
        reader.fault("jwt_issuers", problem);
    }
    for option in option_table::of_issuer() {
        let (name, rest) = (option.name, option.rest().unwrap_or_default());
        if reader.text(name).is_some() {
            let problem = format!("is no issuer's; jwt_issuers is set, so write jwt_NAME_{rest}");
            reader.fault(name, problem);
        }
    }
}

impl IssuerConfig {
    /// The name of the issuer's option `jwt_` plus `rest`.
    pub fn option(&self, rest: &str) -> String {
        match &self.name {
            Some(name) => format!("jwt_{name}_{rest}"),
            None => format!("jwt_{rest}"),
        }
    }

    fn read(reader: &mut Reader, name: Option<&str>) -> Self {
        const YEAR: usize = 366 * 24 * 3600;
        const MONTH: usize = 31 * 24 * 3600;
        let max_age = reader.seconds("jwt_max_age", 0, 0..=YEAR);
        let issuer = read_issuer(reader);
        let keys = read_keys(reader, &issuer);
        let algorithms = read_algorithms(reader);
        check_algorithms(
            reader,
            &keys,
            algorithms.as_deref().unwrap_or(Algorithm::ALL),
        );
        Self {
            name: name.map(str::to_owned),
            keys,
            issuer,
            audience: read_audience(reader),
            algorithms,
            types: read_types(reader),
            user_claim: reader
                .text("jwt_user_claim")
                .unwrap_or_else(|| "sub".to_owned()),
            require: reader.rules("jwt_require"),
            allow_clients: reader.switch("jwt_allow_clients"),
            max_age: (!max_age.is_zero()).then_some(max_age),
            leeway: reader.seconds("jwt_leeway", 30, 0..=300),
            ca_file: reader.path("jwt_ca_file"),
            timeout: reader.seconds("jwt_timeout", 5, 1..=60),
            keys_refresh: reader.seconds("jwt_keys_refresh", 300, 1..=MONTH),
            keys_keep: reader.seconds("jwt_keys_keep", 86_400, 0..=MONTH),
        }
    }
}

fn read_issuer(reader: &mut Reader) -> Expected {
    match reader.text("jwt_issuer").as_deref() {
        None => {
            let remedy = "write the iss of the tokens, or * for tokens that may have none";
            reader.fault("jwt_issuer", format!("is not set; {remedy}"));
            Expected::Any
        }
        Some("*") => Expected::Any,
        Some(text) => {
            if text.contains(char::is_whitespace) {
                let remedy = "name several issuers by jwt_issuers";
                reader.fault("jwt_issuer", format!("has white space; {remedy}"));
            }
            Expected::OneOf(vec![text.to_owned()])
        }
    }
}

fn read_audience(reader: &mut Reader) -> Expected {
    let words = reader.words("jwt_audience");
    if words.is_empty() {
        let remedy = "write what the issuer calls this mail server, or * for tokens of any aud";
        reader.fault("jwt_audience", format!("is not set; {remedy}"));
    }
    if words == ["*"] {
        return Expected::Any;
    }
    if words.iter().any(|word| word == "*") {
        reader.fault(
            "jwt_audience",
            "has a * among other values; write one or the other",
        );
    }
    Expected::OneOf(words)
}

fn read_keys(reader: &mut Reader, issuer: &Expected) -> KeysAt {
    let text = reader.text("jwt_keys").unwrap_or_default();
    let unusable = KeysAt::Path(PathBuf::new());
    if text.is_empty() {
        let remedy = "write a path, an https URL of a JWK set, or discovery";
        reader.fault("jwt_keys", format!("is not set; {remedy}"));
        unusable
    } else if text.starts_with('/') {
        KeysAt::Path(PathBuf::from(text))
    } else if text == "discovery" {
        match discovery(issuer) {
            Ok(keys) => keys,
            Err(problem) => {
                reader.fault("jwt_keys", problem);
                unusable
            }
        }
    } else if text.contains("://") {
        match server_url(&text) {
            Ok(url) => KeysAt::Url(url),
            Err(problem) => {
                reader.fault("jwt_keys", format!("\"{text}\" {problem}"));
                unusable
            }
        }
    } else {
        let problem = "is neither an absolute path, nor an https URL, nor discovery";
        reader.fault("jwt_keys", format!("\"{text}\" {problem}"));
        unusable
    }
}

/// The location of the issuer's metadata: below its own identifier, without the slash at the end
/// (OpenID Connect Discovery 1.0, section 4.1).
fn discovery(issuer: &Expected) -> Result<KeysAt, String> {
    let Expected::OneOf(values) = issuer else {
        return Err("is discovery, which needs an https URL as jwt_issuer".to_owned());
    };
    let issuer = values.first().cloned().unwrap_or_default();
    let mut document = base_url(&issuer)
        .map_err(|problem| format!("is discovery, and jwt_issuer \"{issuer}\" {problem}"))?;
    let path = document.path().trim_end_matches('/').to_owned();
    document.set_path(&format!("{path}/.well-known/openid-configuration"));
    Ok(KeysAt::Discovery { document, issuer })
}

fn read_algorithms(reader: &mut Reader) -> Option<Vec<Algorithm>> {
    let words = reader.words("jwt_algorithms");
    let mut algorithms = Vec::new();
    for word in &words {
        match Algorithm::from_name(word) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let known: Vec<&str> = Algorithm::ALL.iter().map(|a| a.name()).collect();
                let problem = format!("\"{word}\" is none of {}", known.join(" "));
                reader.fault("jwt_algorithms", problem);
            }
        }
    }
    (!words.is_empty()).then_some(algorithms)
}

/// A published secret is not secret and is not accepted.
fn check_algorithms(reader: &mut Reader, keys: &KeysAt, algorithms: &[Algorithm]) {
    let is_published = !matches!(keys, KeysAt::Path(_));
    let mut families = algorithms.iter().map(|algorithm| algorithm.family());
    if is_published && !algorithms.is_empty() && families.all(|family| family == Family::Hmac) {
        let problem = "are for secrets, and jwt_keys are published; name a file of secrets there";
        reader.fault("jwt_algorithms", problem);
    }
}

fn read_types(reader: &mut Reader) -> Vec<String> {
    let words = reader.words("jwt_types");
    if words.is_empty() {
        return ["jwt", "at+jwt"].map(str::to_owned).to_vec();
    }
    words.iter().map(|word| media_type(word)).collect()
}

/// Normalizes a `typ`: case is ignored, and the prefix `application/` is optional (RFC 7515,
/// section 4.1.9).
pub(crate) fn media_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    match text.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
