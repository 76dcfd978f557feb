//! When a token is good.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::claims::Claims;
use super::told;
use crate::config::IssuerConfig;
use crate::error::{Failure, Reason};
use crate::platform::clock::WallTime;
use crate::trace::{Checks, Step};

/// The times of RFC 7519, sections 4.1.4 to 4.1.6: the token's end, if all is well.
/// Clocks may differ by the leeway; a session's end is exact all the same.
pub(crate) fn judge_times(
    issuer: &IssuerConfig,
    claims: &Claims<'_>,
    now: WallTime,
    checks: &mut Checks<'_>,
) -> Result<Option<WallTime>, Failure> {
    let told = |name| move |_: Option<&_>| told::time(issuer, claims, name, now);
    let exp = claims.time("exp");
    let exp = exp.and_then(|exp| judge_exp(issuer, exp, now).map(|()| exp));
    let exp = checks.check(Step::Expiry, told("exp"), exp)?;
    let nbf = claims.time("nbf");
    let nbf = nbf.and_then(|nbf| judge_nbf(issuer, nbf, now).map(|()| nbf));
    checks.check(Step::NotBefore, told("nbf"), nbf)?;
    let iat = claims.time("iat");
    let iat = iat.and_then(|iat| judge_iat(issuer, iat, now).map(Some));
    let iat = checks.check(Step::IssuedAt, told("iat"), iat)?;
    let oldest = match (iat.flatten(), issuer.max_age) {
        (Some(iat), Some(age)) => {
            let told = |_: Option<&_>| told::age(age, issuer.leeway, iat, now);
            checks.check(Step::Age, told, judge_age(issuer, age, iat, now))?
        }
        _ => None,
    };
    Ok(exp.flatten().into_iter().chain(oldest).min())
}

fn judge_exp(issuer: &IssuerConfig, exp: Option<WallTime>, now: WallTime) -> Result<(), Failure> {
    match exp {
        Some(exp) if now >= exp.plus(issuer.leeway) => {
            let what = format!("the token's time was over {} ago", seconds(exp, now));
            Err(Failure::new(Reason::TokenExpired, what))
        }
        None if issuer.max_age.is_none() => {
            let what = "the token has no exp, and jwt_max_age does not bound it";
            Err(Failure::new(Reason::ClaimMissing, what))
        }
        _ => Ok(()),
    }
}

fn judge_nbf(issuer: &IssuerConfig, nbf: Option<WallTime>, now: WallTime) -> Result<(), Failure> {
    match nbf {
        Some(nbf) if now.plus(issuer.leeway) < nbf => {
            let what = format!("the token's time begins in {}", seconds(now, nbf));
            Err(Failure::new(Reason::TokenNotYetValid, what))
        }
        _ => Ok(()),
    }
}

fn judge_iat(
    issuer: &IssuerConfig,
    iat: Option<WallTime>,
    now: WallTime,
) -> Result<WallTime, Failure> {
    let iat = iat.ok_or_else(|| Failure::new(Reason::ClaimMissing, "the token has no iat"))?;
    if now.plus(issuer.leeway) < iat {
        let what = format!(
            "the token is issued in {}; compare clocks",
            seconds(now, iat)
        );
        return Err(Failure::new(Reason::TokenFromTheFuture, what));
    }
    Ok(iat)
}

/// Until when it is young enough.
fn judge_age(
    issuer: &IssuerConfig,
    age: Duration,
    iat: WallTime,
    now: WallTime,
) -> Result<WallTime, Failure> {
    let oldest = iat.plus(age);
    if now >= oldest.plus(issuer.leeway) {
        let what = format!(
            "the token was issued {} ago, see jwt_max_age",
            seconds(iat, now)
        );
        return Err(Failure::new(Reason::TokenTooOld, what));
    }
    Ok(oldest)
}

fn seconds(from: WallTime, to: WallTime) -> String {
    format!("{} s", from.until(to).as_secs())
}
