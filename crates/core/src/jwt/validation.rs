//! What is required of a token, beside a valid signature.
//!
//! [`check_type`] and [`check_algorithm`] are made before the signature is verified, and
//! [`validate_claims`] afterwards. Each check describes what it compared, for `sasl-sso explain`.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::claims::{Claims, is_true};
use super::jws::Header;
use crate::config::{Expected, IssuerConfig, media_type};
use crate::error::{Failure, Reason};
use crate::platform::clock::WallTime;
use crate::platform::log::{listed, quoted};
use crate::policy::attribute_rules::{Condition, is_word_list};
use crate::principal::Principal;
use crate::trace::{Check, Checks, Comparison, Describe, Step};

/// Validates the claims of a token whose signature is verified. Returns the principal, and when
/// the token expires.
///
/// # Errors
/// Why the token is invalid or not allowed.
pub(crate) fn validate_claims(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
    mut checks: Checks<'_>,
) -> Result<(Principal, WallTime), Failure> {
    checks.run(check_audience(issuer, claims))?;
    let expiry = checks.run(check_expiry(issuer, claims, now))?.flatten();
    checks.run(check_not_before(issuer, claims, now))?;
    let issued_at = checks.run(check_issued_at(issuer, claims, now))?;
    let max_age = match (issued_at, issuer.max_age) {
        (Some(issued_at), Some(max_age)) => {
            checks.run(check_age(issuer, max_age, issued_at, now))?
        }
        _ => None,
    };
    checks.run(check_purpose(claims))?;
    let user = checks.run(check_user_claim(issuer, claims))?;
    if let (false, Some(user)) = (issuer.allow_clients, user) {
        checks.run(check_person(claims, user))?;
    }
    let values = |name: &str| claims.rule_values(name);
    issuer.require.check(&mut checks, values, rule_not_met)?;
    let principal = match user {
        Some(user) => checks.run(check_principal(user))?,
        None => None,
    };
    checks.finish()?;
    let expires = expiry.into_iter().chain(max_age).min();
    principal.zip(expires).ok_or_else(missing_result)
}

/// The failure of a validation in which all checks passed and a result is missing. That is a
/// defect of this program.
pub(crate) fn missing_result() -> Failure {
    Failure::new(Reason::InternalError, "the validation has no result")
}

/// Requires a `typ` of `jwt_types` (RFC 7515, section 4.1.9). A missing `typ` means `JWT`.
pub(crate) fn check_type(issuer: &IssuerConfig, header: &Header) -> Check<(), impl Describe> {
    let typ = header.typ.as_deref().map_or("jwt".to_owned(), media_type);
    let result = match issuer.types.contains(&typ) {
        true => Ok(()),
        false => {
            let what = format!("typ is {}, which is not in jwt_types", quoted(&typ));
            Err(Failure::new(Reason::TypeNotAllowed, what))
        }
    };
    Check::new(Step::Type, result, || {
        let typ = header.typ.as_deref().map_or("none".into(), quoted);
        let option = issuer.option("types");
        Comparison::actual(typ).expected(format!("{option} {}", listed(&issuer.types)))
    })
}

/// Requires an `alg` of `jwt_algorithms`, if that is set (RFC 8725, section 3.1).
pub(crate) fn check_algorithm(issuer: &IssuerConfig, header: &Header) -> Check<(), impl Describe> {
    let algorithm = header.algorithm;
    let result = match &issuer.algorithms {
        Some(allowed) if !allowed.contains(&algorithm) => {
            let what = format!("{algorithm} is not in jwt_algorithms");
            Err(Failure::new(Reason::AlgorithmNotAllowed, what))
        }
        _ => Ok(()),
    };
    Check::new(Step::Algorithm, result, move || {
        let option = issuer.option("algorithms");
        let expected = match &issuer.algorithms {
            Some(allowed) => {
                let names: Vec<&str> = allowed.iter().map(|algorithm| algorithm.name()).collect();
                format!("{option} {}", names.join(" "))
            }
            None => format!("{option} is not set: any that the issuer's key is for"),
        };
        Comparison::actual(algorithm.name()).expected(expected)
    })
}

/// Requires an `aud` of `jwt_audience`: one value, or an array of them (RFC 7519, section 4.1.3).
fn check_audience(issuer: &IssuerConfig, claims: &Claims<'_>) -> Check<(), impl Describe> {
    let refuse = |what: String| Err(Failure::new(Reason::AudienceNotAllowed, what));
    let result = match &issuer.audience {
        Expected::Any => Ok(()),
        Expected::OneOf(_) if !claims.has("aud") => refuse("the token has no aud".to_owned()),
        Expected::OneOf(allowed) => {
            let values = claims.values("aud");
            match values
                .iter()
                .any(|value| allowed.iter().any(|a| a == value))
            {
                true => Ok(()),
                false => {
                    let values = values.join(" ");
                    refuse(format!("aud is {}, none of jwt_audience", quoted(&values)))
                }
            }
        }
    };
    Check::new(Step::Audience, result, || {
        let values = claims.values("aud");
        let actual = match values[..] {
            [] if claims.has("aud") => "nothing that is a text".to_owned(),
            [] => "none".to_owned(),
            _ => listed(&values),
        };
        Comparison::actual(actual).expected(format!("jwt_audience {}", issuer.audience))
    })
}

/// Requires that `exp` is not past (RFC 7519, section 4.1.4). Clocks may differ by the leeway; the
/// session ends at `exp` itself. Without `exp`, `jwt_max_age` must limit the token.
fn check_expiry(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
) -> Check<Option<WallTime>, impl Describe> {
    let result = claims.time("exp").and_then(|exp| match exp {
        Some(exp) if now >= exp.plus(issuer.leeway) => {
            let what = format!("the token's time was over {} ago", seconds(exp, now));
            Err(Failure::new(Reason::TokenExpired, what))
        }
        None if issuer.max_age.is_none() => {
            let what = "the token has no exp, and jwt_max_age does not bound it";
            Err(Failure::new(Reason::ClaimMissing, what))
        }
        exp => Ok(exp),
    });
    Check::new(Step::Expiry, result, move || {
        let expected = format!("in the future, or past by less than {}", leeway(issuer));
        describe_time(claims, "exp", now).expected(expected)
    })
}

/// Requires that `nbf` is not in the future, if the token has one (RFC 7519, section 4.1.5).
fn check_not_before(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
) -> Check<(), impl Describe> {
    let result = claims.time("nbf").and_then(|nbf| match nbf {
        Some(nbf) if now.plus(issuer.leeway) < nbf => {
            let what = format!("the token's time begins in {}", seconds(now, nbf));
            Err(Failure::new(Reason::TokenNotYetValid, what))
        }
        _ => Ok(()),
    });
    Check::new(Step::NotBefore, result, move || {
        describe_time(claims, "nbf", now).expected(not_in_the_future(issuer))
    })
}

/// Requires an `iat` that is not in the future (RFC 7519, section 4.1.6), and returns it.
fn check_issued_at(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
) -> Check<WallTime, impl Describe> {
    let result = claims.time("iat").and_then(|iat| match iat {
        None => Err(Failure::new(Reason::ClaimMissing, "the token has no iat")),
        Some(iat) if now.plus(issuer.leeway) < iat => {
            let ahead = seconds(now, iat);
            let what = format!("the token is issued in {ahead}; compare clocks");
            Err(Failure::new(Reason::TokenFromTheFuture, what))
        }
        Some(iat) => Ok(iat),
    });
    Check::new(Step::IssuedAt, result, move || {
        describe_time(claims, "iat", now).expected(not_in_the_future(issuer))
    })
}

/// Requires that the token is not older than `jwt_max_age`, and returns when it will be.
fn check_age(
    issuer: &IssuerConfig,
    max_age: Duration,
    issued_at: WallTime,
    now: WallTime,
) -> Check<WallTime, impl Describe> {
    let end = issued_at.plus(max_age);
    let result = match now >= end.plus(issuer.leeway) {
        true => {
            let age = seconds(issued_at, now);
            let what = format!("the token was issued {age} ago, see jwt_max_age");
            Err(Failure::new(Reason::TokenTooOld, what))
        }
        false => Ok(end),
    };
    Check::new(Step::Age, result, move || {
        let (max_age, leeway) = (max_age.as_secs(), issuer.leeway.as_secs());
        Comparison::actual(format!("{} old", seconds(issued_at, now)))
            .expected(format!("jwt_max_age {max_age} s, and {leeway} s of leeway"))
    })
}

/// Requires a bearer access token.
///
/// Many issuers put the same `typ`, `iss` and `aud` into ID tokens (RFC 9068, section 5, warns of
/// accepting those as access tokens) and into other tokens that they sign with the same key.
fn check_purpose(claims: &Claims<'_>) -> Check<(), impl Describe> {
    // Keycloak has a claim `typ` for the kind of token.
    let typ = claims.text("typ").map(media_type).unwrap_or_default();
    let failure = if let Some(name) = mark_of_id_token(claims) {
        let what = "the token is an ID token, not an access token: it has";
        Some((Reason::IdToken, format!("{what} {name}")))
    } else if claims.has("events") {
        // RFC 8417, section 2.2.
        let what = "the token is an event, such as a logout, not an access token";
        Some((Reason::TypeNotAllowed, what.to_owned()))
    } else if claims.has("typ") && !["bearer", "jwt", "at+jwt"].contains(&typ.as_str()) {
        let what = format!("the claim typ is {}, not Bearer", quoted(&typ));
        Some((Reason::TypeNotAllowed, what))
    } else if claims.has("cnf") {
        // RFC 7800, section 3.1.
        let what = "the token is bound to a key of its client's (cnf), which is not seen here";
        Some((Reason::TokenBound, what.to_owned()))
    } else {
        None
    };
    let result = failure.map_or(Ok(()), |(reason, what)| Err(Failure::new(reason, what)));
    Check::new(Step::Purpose, result, || {
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
        Comparison::actual(describe_claims(claims, &names))
            .expected("an access token that whoever has it may use")
    })
}

/// The claim that shows that a token is an ID token (OpenID Connect Core 1.0, sections 2 and
/// 3.3.2.11).
fn mark_of_id_token(claims: &Claims<'_>) -> Option<&'static str> {
    let first_of = |names: &[&'static str]| names.iter().copied().find(|name| claims.has(name));
    if claims.text("typ") == Some("ID") {
        return Some("typ=ID");
    }
    let is_granted =
        !claims.values("scope").concat().is_empty() || !claims.values("scp").concat().is_empty();
    // Keycloak up to 24 copied the nonce into access tokens.
    let is_bearer = is_granted && claims.text("typ") == Some("Bearer");
    first_of(&["at_hash", "c_hash", "s_hash"])
        .or_else(|| first_of(&["nonce"]).filter(|_| !is_bearer))
        // Access tokens may have these claims about the login beside a scope (RFC 9068,
        // section 2.2.1).
        .or_else(|| first_of(&["auth_time", "acr", "amr"]).filter(|_| !is_granted))
}

/// Requires `jwt_user_claim`, and returns the user name in it. An email address must be verified by
/// the issuer.
fn check_user_claim<'c>(
    issuer: &IssuerConfig,
    claims: &'c Claims<'_>,
) -> Check<&'c str, impl Describe> {
    let name = issuer.user_claim.as_str();
    Check::new(Step::UserClaim, user_name(name, claims), move || {
        let actual = match claims.at(name) {
            Some(value) => format!("{name}={}", quoted(&value.to_string())),
            None => format!("no {name}"),
        };
        Comparison::actual(actual).expected(format!("{} {name}", issuer.option("user_claim")))
    })
}

fn user_name<'c>(name: &str, claims: &'c Claims<'_>) -> Result<&'c str, Failure> {
    let refuse = |what| Err(Failure::new(Reason::UserClaimUnusable, what));
    let Some((object, member, value)) = claims.place(name) else {
        return refuse(format!("the token has no {name}"));
    };
    let Some(user) = value.as_text() else {
        return refuse(format!("{name} is not a text"));
    };
    if let Some(namespace) = namespace_of_email(member) {
        let verified = format!("{namespace}email_verified");
        let is_copy = || claims.is_true("email_verified") && claims.text("email") == Some(user);
        if !is_true(object.get(&verified)) && !is_copy() {
            let what = format!(
                "{verified} is not true beside {name}: anybody could have written that email"
            );
            return refuse(what);
        }
    }
    Ok(user)
}

/// The prefix of a claim's name whose last part means an email address in any spelling: `email`,
/// `Email`, `e-mail`, `emails`, `https://univ.fr/email`, `…/claims/emailaddress`. `None` for other
/// claims. Most issuers let users set such an address themselves.
fn namespace_of_email(member: &str) -> Option<&str> {
    let last = member.rfind(['.', '/', ':', '#']).map_or(0, |at| at + 1);
    let (namespace, word) = member.split_at(last);
    let letters = word.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    let word: String = letters.flat_map(char::to_lowercase).collect();
    let word = word.strip_prefix("user").unwrap_or(&word);
    let is_email = matches!(word, "email" | "emails" | "emailaddress" | "emailaddresses");
    is_email.then_some(namespace)
}

/// Requires a token that was issued for a person.
///
/// A token that a client got with its own credentials has the client as its subject (RFC 9068,
/// section 2.2). Without this check a client with the name of a mailbox could open the mailbox.
fn check_person(claims: &Claims<'_>, user: &str) -> Check<(), impl Describe> {
    // Keycloak's name of a client's own account.
    let account = claims
        .text("preferred_username")
        .and_then(|name| name.strip_prefix("service-account-"));
    let subjects = [claims.text("sub"), Some(user), account];
    let is_subject = |name: &&str| {
        let client = claims.text(name);
        let is_same = |subject: &str| client.is_some_and(|id| id.eq_ignore_ascii_case(subject));
        subjects.into_iter().flatten().any(is_same)
    };
    let mark = ["client_id", "azp"]
        .into_iter()
        .find(is_subject)
        // The marks of Entra and of Auth0.
        .or((claims.text("idtyp") == Some("app")).then_some("idtyp"))
        .or((claims.text("gty") == Some("client-credentials")).then_some("gty"));
    let result = match mark {
        None => Ok(()),
        Some(name) => {
            let what = format!(
                "the token speaks for a client, not for a person (see {name}); jwt_allow_clients \
                 would allow that"
            );
            Err(Failure::new(Reason::ClientToken, what))
        }
    };
    Check::new(Step::Person, result, || {
        let names = [
            "sub",
            "client_id",
            "azp",
            "preferred_username",
            "idtyp",
            "gty",
        ];
        Comparison::actual(describe_claims(claims, &names))
            .expected("a person, not a client by its own name")
    })
}

/// Requires a user name that can be a principal, and returns the principal.
fn check_principal(user: &str) -> Check<Principal, impl Describe> {
    Check::new(Step::Principal, Principal::validated(user), || {
        Comparison::actual(quoted(user))
    })
}

/// The failure of a token that does not meet a condition of `jwt_require`.
fn rule_not_met(condition: &Condition) -> Failure {
    // RFC 8693, section 4.2; `scp` is Entra's name of `scope`.
    let reason = match is_word_list(condition.attribute()) {
        true => Reason::ScopeMissing,
        false => Reason::RuleNotMet,
    };
    Failure::new(reason, format!("the token does not meet {condition}"))
}

/// Describes a claim that is a time.
fn describe_time(claims: &Claims<'_>, name: &str, now: WallTime) -> Comparison {
    Comparison::actual(match claims.time(name) {
        Ok(None) => "none".to_owned(),
        Ok(Some(time)) if time <= now => format!("{time}, {} ago", seconds(time, now)),
        Ok(Some(time)) => format!("{time}, in {}", seconds(now, time)),
        Err(_) => {
            let value = claims.member(name).map(ToString::to_string);
            quoted(&value.unwrap_or_default()).into_owned()
        }
    })
}

/// Lists those of the named claims that the token has.
fn describe_claims(claims: &Claims<'_>, names: &[&str]) -> String {
    let present = names.iter().filter_map(|name| {
        let value = claims.member(name)?.to_string();
        Some(format!("{name}={}", quoted(&value)))
    });
    present.collect::<Vec<_>>().join(" ")
}

fn not_in_the_future(issuer: &IssuerConfig) -> String {
    format!("in the past, or ahead by no more than {}", leeway(issuer))
}

fn leeway(issuer: &IssuerConfig) -> String {
    format!(
        "{} s of {}",
        issuer.leeway.as_secs(),
        issuer.option("leeway")
    )
}

fn seconds(from: WallTime, to: WallTime) -> String {
    format!("{} s", from.until(to).as_secs())
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
