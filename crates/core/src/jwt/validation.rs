//! What an issuer's policy says of a token whose signature is verified.

#![forbid(unsafe_code)]

use super::claims::{Claims, is_true};
use super::jws::Header;
use super::times::judge_times;
use super::told;
use crate::config::{Expected, IssuerConfig, media_type};
use crate::error::{Failure, Reason};
use crate::platform::clock::WallTime;
use crate::platform::log::quoted;
use crate::policy::attribute_rules::{Condition, is_word_list};
use crate::principal::Principal;
use crate::trace::{Checks, Step, Told};

/// Whether the header alone is acceptable.
///
/// # Errors
/// [`Reason::TypeNotAllowed`] or [`Reason::AlgorithmNotAllowed`].
pub(crate) fn judge_header(
    issuer: &IssuerConfig,
    header: &Header,
    checks: &mut Checks<'_>,
) -> Result<(), Failure> {
    // A missing one counts as JWT.
    let typ = header.typ.as_deref().map_or("jwt".to_owned(), media_type);
    let is_taken = match issuer.types.contains(&typ) {
        true => Ok(()),
        false => {
            let what = format!("typ is {}, which is not in jwt_types", quoted(&typ));
            Err(Failure::new(Reason::TypeNotAllowed, what))
        }
    };
    let told = |_: Option<&()>| told::typ(issuer, header);
    checks.check(Step::Type, told, is_taken)?;
    let algorithm = header.algorithm;
    let is_taken = match &issuer.algorithms {
        Some(taken) if !taken.contains(&algorithm) => {
            let what = format!("{algorithm} is not in jwt_algorithms");
            Err(Failure::new(Reason::AlgorithmNotAllowed, what))
        }
        _ => Ok(()),
    };
    let told = |_: Option<&()>| told::algorithm(issuer, algorithm);
    checks.check(Step::Algorithm, told, is_taken)?;
    Ok(())
}

/// Who the token speaks for, and until when.
///
/// # Errors
/// Why it is not good, or not allowed.
pub(crate) fn judge(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
    mut checks: Checks<'_>,
) -> Result<(Principal, WallTime), Failure> {
    let told = |_: Option<&()>| told::audience(&issuer.audience, claims);
    let audience = judge_audience(&issuer.audience, claims);
    checks.check(Step::Audience, told, audience)?;
    let end = judge_times(issuer, claims, now, &mut checks)?;
    let told = |_: Option<&()>| told::purpose(claims);
    checks.check(Step::Purpose, told, judge_purpose(claims))?;
    let told = |_: Option<&&str>| told::user(issuer, claims);
    let user = checks.check(Step::UserClaim, told, user(issuer, claims))?;
    if let (false, Some(user)) = (issuer.allow_clients, user) {
        let told = |_: Option<&()>| told::client(claims);
        checks.check(Step::Person, told, judge_client(claims, user))?;
    }
    let values = |name: &str| claims.rule_values(name);
    issuer.require.judge(&mut checks, values, unmet)?;
    let principal = match user {
        Some(user) => {
            let told = |_: Option<&Principal>| Told::found(quoted(user));
            checks.check(Step::Principal, told, Principal::validated(user))?
        }
        None => None,
    };
    checks.verdict()?;
    principal.zip(end).ok_or_else(undecided)
}

/// What cannot be: a check that failed, and no failure.
pub(crate) fn undecided() -> Failure {
    Failure::new(Reason::InternalError, "the judgement has no result")
}

/// RFC 7519, section 4.1.3: one value, or an array of them.
fn judge_audience(expected: &Expected, claims: &Claims<'_>) -> Result<(), Failure> {
    let Expected::OneOf(ours) = expected else {
        return Ok(());
    };
    let refuse = |what| Err(Failure::new(Reason::AudienceNotAllowed, what));
    if !claims.has("aud") {
        return refuse("the token has no aud".to_owned());
    }
    let values = claims.values("aud");
    if values
        .iter()
        .any(|value| ours.iter().any(|our| our == value))
    {
        return Ok(());
    }
    let values = quoted(&values.join(" ")).into_owned();
    refuse(format!("aud is {values}, none of jwt_audience"))
}

/// Whether it is an access token, and one that whoever has it may use.
///
/// Many issuers write the same `typ`, `iss` and `aud` into ID tokens (RFC 9068,
/// section 5, warns of taking them for access tokens) and into others that they
/// sign by the same key.
fn judge_purpose(claims: &Claims<'_>) -> Result<(), Failure> {
    let refuse = |reason, what: String| Err(Failure::new(reason, what));
    if let Some(name) = mark_of_id_token(claims) {
        let what = "the token is an ID token, not an access token: it has";
        return refuse(Reason::IdToken, format!("{what} {name}"));
    }
    if claims.has("events") {
        let what = "the token is an event, such as a logout, not an access token";
        return refuse(Reason::TypeNotAllowed, what.to_owned());
    }
    // Keycloak tells kinds of tokens by a claim.
    let typ = claims.text("typ").map(media_type).unwrap_or_default();
    if claims.has("typ") && !["bearer", "jwt", "at+jwt"].contains(&typ.as_str()) {
        let what = format!("the claim typ is {}, not Bearer", quoted(&typ));
        return refuse(Reason::TypeNotAllowed, what);
    }
    if claims.has("cnf") {
        let what = "the token is bound to a key of its client's (cnf), which is not seen here";
        return refuse(Reason::TokenBound, what.to_owned());
    }
    Ok(())
}

/// The claim by which an ID token is known (OpenID Connect Core 1.0, sections 2
/// and 3.3.2.11).
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
        // About a login; access tokens have these too, beside what they were
        // granted for (RFC 9068, section 2.2.1).
        .or_else(|| first_of(&["auth_time", "acr", "amr"]).filter(|_| !is_granted))
}

/// The user's name, as the issuer knows it.
fn user<'c>(issuer: &IssuerConfig, claims: &'c Claims<'_>) -> Result<&'c str, Failure> {
    let name = issuer.user_claim.as_str();
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

/// What stands before the last part of a claim's name, if that part is the word for an
/// email address, however it is spelled: `email`, `Email`, `e-mail`, `emails`,
/// `https://univ.fr/email`, `…/claims/emailaddress`. Most issuers let their users write
/// such an address themselves.
fn namespace_of_email(member: &str) -> Option<&str> {
    let last = member.rfind(['.', '/', ':', '#']).map_or(0, |at| at + 1);
    let (namespace, word) = member.split_at(last);
    let letters = word.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    let word: String = letters.flat_map(char::to_lowercase).collect();
    let word = word.strip_prefix("user").unwrap_or(&word);
    let is_email = matches!(word, "email" | "emails" | "emailaddress" | "emailaddresses");
    is_email.then_some(namespace)
}

/// A token got with a client's own credentials has the client as its subject
/// (RFC 9068, section 2.2): without this a client could be named like a mailbox
/// and open it.
fn judge_client(claims: &Claims<'_>, user: &str) -> Result<(), Failure> {
    // Keycloak's name for a client's own account.
    let account = claims
        .text("preferred_username")
        .and_then(|name| name.strip_prefix("service-account-"));
    let names = [claims.text("sub"), Some(user), account];
    let is_the_client = |name: &&str| {
        let client = claims.text(name);
        let is_same = |name: &str| client.is_some_and(|id| id.eq_ignore_ascii_case(name));
        names.into_iter().flatten().any(is_same)
    };
    let same = ["client_id", "azp"].into_iter().find(is_the_client);
    let telling = same
        // Entra's and Auth0's own words for it.
        .or((claims.text("idtyp") == Some("app")).then_some("idtyp"))
        .or((claims.text("gty") == Some("client-credentials")).then_some("gty"));
    match telling {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            Reason::ClientToken,
            format!(
                "the token speaks for a client, not for a person (see {name}); jwt_allow_clients would allow that"
            ),
        )),
    }
}

fn unmet(condition: &Condition) -> Failure {
    // RFC 8693, section 4.2, or Entra's name for it.
    let reason = match is_word_list(condition.attribute()) {
        true => Reason::ScopeMissing,
        false => Reason::RuleNotMet,
    };
    Failure::new(reason, format!("the token does not meet {condition}"))
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
