//! What is told to who looks on while a token is judged. Nothing here decides.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::claims::Claims;
use super::jws::{Compact, Header};
use super::keys::key_set::KeySet;
use super::keys::verification_key::Key;
use crate::config::{Expected, IssuerConfig};
use crate::error::Failure;
use crate::platform::clock::{BootTime, WallTime};
use crate::platform::log::{listed, quoted};
use crate::policy::jws_algorithm::Algorithm;
use crate::trace::Told;

/// The issuer, of those that are configured.
pub(crate) fn issuer<'i>(
    iss: Option<&str>,
    issuers: impl Iterator<Item = &'i IssuerConfig>,
) -> Told {
    let wanted = issuers.map(|issuer| {
        let option = issuer.option("issuer");
        format!("{option} {}", expected(&issuer.issuer))
    });
    found(iss).wanted(wanted.collect::<Vec<_>>().join(", "))
}

pub(crate) fn typ(issuer: &IssuerConfig, header: &Header) -> Told {
    let option = issuer.option("types");
    found(header.typ.as_deref()).wanted(format!("{option} {}", listed(&issuer.types)))
}

pub(crate) fn algorithm(issuer: &IssuerConfig, algorithm: Algorithm) -> Told {
    let option = issuer.option("algorithms");
    let wanted = match &issuer.algorithms {
        Some(taken) => {
            let names: Vec<&str> = taken.iter().map(|algorithm| algorithm.name()).collect();
            format!("{option} {}", names.join(" "))
        }
        None => format!("{option} is not set: any that the issuer's key is for"),
    };
    Told::found(algorithm.name()).wanted(wanted)
}

/// The keys of a set, and which of them a token may be signed with.
pub(crate) fn keys(set: Option<&KeySet>, header: &Header, place: &str) -> Told {
    /// So many of those that are not the token's.
    const MOST: usize = 10;
    let keys = set.map(|set| &set.keys[..]).unwrap_or_default();
    let (mut tried, mut others) = (Vec::new(), Vec::new());
    for (key, set) in keys.iter().zip(std::iter::repeat(set).flatten()) {
        match set.why_not_by(key, header) {
            None => tried.push(format!("{} is tried", name(key))),
            Some(why) => others.push(format!("{}: {why}", name(key))),
        }
    }
    let left_out = others.len().saturating_sub(MOST);
    others.truncate(MOST);
    tried.extend(others);
    if left_out > 0 {
        tried.push(format!("{left_out} more"));
    }
    Told::found(tried.join("; ")).wanted(format!("a key of {place}"))
}

/// The keys after another look at them.
pub(crate) fn newer(
    newer: Result<Option<&(Arc<KeySet>, BootTime)>, &Failure>,
    header: &Header,
) -> Told {
    match newer {
        Ok(Some((set, _))) => keys(Some(set), header, "the same place, asked anew"),
        Ok(None) => Told::found("there are no newer ones, or they were asked for a moment ago"),
        Err(failure) => Told::found(format!("no newer ones: {failure}")),
    }
}

/// By what a token says that it is signed.
pub(crate) fn signature(token: &Compact<'_>) -> Told {
    let Header { algorithm, kid, .. } = &token.header;
    let kid = kid.as_deref().map(|kid| format!(", kid {}", quoted(kid)));
    let length = token.signature.len();
    let found = format!("{algorithm}{}, {length} bytes", kid.unwrap_or_default());
    Told::found(found).wanted("that of a key that is tried")
}

/// A key by its kid or its file, and what it is for.
fn name(key: &Key) -> String {
    let kid = key.kid().map(|kid| format!("kid {}", quoted(kid)));
    let file = key.file().map(|file| quoted(file).into_owned());
    let name = kid.or(file).unwrap_or("one without a kid".to_owned());
    let algorithms: Vec<&str> = key.algorithms().map(Algorithm::name).collect();
    format!("{name} ({})", algorithms.join(" "))
}

pub(crate) fn audience(wanted: &Expected, claims: &Claims<'_>) -> Told {
    let values = claims.values("aud");
    let found = match values[..] {
        [] => nothing(claims.has("aud")).to_owned(),
        _ => listed(&values),
    };
    Told::found(found).wanted(format!("jwt_audience {}", expected(wanted)))
}

/// A time, and how far it is from now.
pub(crate) fn time(issuer: &IssuerConfig, claims: &Claims<'_>, name: &str, now: WallTime) -> Told {
    let found = match claims.time(name) {
        Ok(Some(time)) => distance(time, now),
        Ok(None) => nothing(false).to_owned(),
        Err(_) => quoted(
            &claims
                .member(name)
                .map(ToString::to_string)
                .unwrap_or_default(),
        )
        .into_owned(),
    };
    let leeway = format!(
        "{} s of {}",
        issuer.leeway.as_secs(),
        issuer.option("leeway")
    );
    let wanted = match name {
        "exp" => format!("in the future, or past by less than {leeway}"),
        _ => format!("in the past, or ahead by no more than {leeway}"),
    };
    Told::found(found).wanted(wanted)
}

pub(crate) fn age(most: Duration, leeway: Duration, iat: WallTime, now: WallTime) -> Told {
    let (most, leeway) = (most.as_secs(), leeway.as_secs());
    Told::found(format!("{} s old", iat.until(now).as_secs()))
        .wanted(format!("jwt_max_age {most} s, and {leeway} s of leeway"))
}

/// The claims by which kinds of tokens are told.
pub(crate) fn purpose(claims: &Claims<'_>) -> Told {
    let names = [
        "typ",
        "scope",
        "scp",
        "at_hash",
        "c_hash",
        "s_hash",
        "nonce",
        "auth_time",
        "acr",
        "amr",
        "events",
        "cnf",
    ];
    Told::found(those_of(claims, &names)).wanted("an access token that whoever has it may use")
}

pub(crate) fn user(issuer: &IssuerConfig, claims: &Claims<'_>) -> Told {
    let name = issuer.user_claim.as_str();
    let found = match claims.at(name) {
        Some(value) => format!("{name}={}", quoted(&value.to_string())),
        None => format!("no {name}"),
    };
    Told::found(found).wanted(format!("{} {name}", issuer.option("user_claim")))
}

/// The claims by which a client's own tokens are told.
pub(crate) fn client(claims: &Claims<'_>) -> Told {
    let names = [
        "sub",
        "client_id",
        "azp",
        "preferred_username",
        "idtyp",
        "gty",
    ];
    Told::found(those_of(claims, &names)).wanted("a person, not a client by its own name")
}

/// A time as people read it, and how far it is from `now`.
fn distance(time: WallTime, now: WallTime) -> String {
    let seconds = |from: WallTime, to| from.until(to).as_secs();
    if time <= now {
        format!("{time}, {} s ago", seconds(time, now))
    } else {
        format!("{time}, in {} s", seconds(now, time))
    }
}

fn those_of(claims: &Claims<'_>, names: &[&str]) -> String {
    let there = names.iter().filter_map(|name| {
        let value = claims.member(name)?.to_string();
        Some(format!("{name}={}", quoted(&value)))
    });
    there.collect::<Vec<_>>().join(" ")
}

fn expected(expected: &Expected) -> String {
    match expected {
        Expected::Any => "*".to_owned(),
        Expected::OneOf(values) => listed(values),
    }
}

fn found(text: Option<&str>) -> Told {
    Told::found(text.map_or(nothing(false).into(), quoted))
}

/// Where there is no value: no member, or one without values that count.
fn nothing(is_there: bool) -> &'static str {
    if is_there {
        "nothing that is a text"
    } else {
        "none"
    }
}
