//! The policy for tokens.

#![forbid(unsafe_code)]

use super::cas::can_be_impersonated;
use super::{RiskInputs, roca};
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use sso_core::config::{Expected, IssuerConfig, KeysAt};
use sso_core::jwt;

fn issuers<'a>(inputs: &RiskInputs<'a>) -> impl Iterator<Item = &'a IssuerConfig> {
    let jwt = inputs.examined.config.jwt.iter();
    jwt.flat_map(|jwt| &jwt.issuers)
}

/// An issuer that publishes its keys signs tokens for many applications.
pub(crate) fn any_issuer_or_audience_with_published_keys(
    context: &mut CheckContext<'_>,
    inputs: &RiskInputs<'_>,
) {
    for issuer in issuers(inputs) {
        if matches!(issuer.keys, KeysAt::Path(_)) {
            continue;
        }
        for (rest, expected, what) in [
            (
                "issuer",
                &issuer.issuer,
                "is * although the keys are published: tokens of every issuer that signs with \
                 them are taken; write the iss of the tokens",
            ),
            (
                "audience",
                &issuer.audience,
                "is * although the keys are published: the token of any application of this \
                 issuer opens mailboxes; write what the issuer calls this mail server",
            ),
        ] {
            let option = issuer.option(rest);
            if *expected == Expected::Any && inputs.is_sound(&option) {
                context.add_for_sasl(Severity::Warning, &option, what);
            }
        }
    }
}

/// Any local user can listen on an unprivileged port while the issuer is down.
pub(crate) fn server_without_tls(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    for issuer in issuers(inputs) {
        let url = match &issuer.keys {
            KeysAt::Discovery { document, .. } => document,
            KeysAt::Url(url) => url,
            KeysAt::Path(_) => continue,
        };
        if let Some(what) = can_be_impersonated(url) {
            context.add_for_sasl(Severity::Warning, &issuer.option("keys"), &what);
        }
    }
}

/// Only the issuer knows whether it verifies addresses.
pub(crate) fn unverified_addresses(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    for issuer in issuers(inputs) {
        let claim = &issuer.user_claim;
        let path = match claim.rsplit_once('.') {
            None if claim == "email" => "",
            Some((_, "email")) => &claim[..claim.len() - "email".len()],
            _ => continue,
        };
        let verified = format!("{path}email_verified");
        let mut conditions = issuer.require.conditions().iter();
        if conditions.any(|condition| condition.attribute() == verified) {
            continue;
        }
        let require = context.conf.written_name(&issuer.option("require"));
        let what = format!(
            "{claim} names the user by an address: where the issuer lets users set it without \
             verifying it, one opens another's mailbox, or nobody is let in; name a claim with the \
             login, or, where the issuer verifies addresses, add {verified}=true to {require}"
        );
        context.add_for_sasl(Severity::Warning, &issuer.option("user_claim"), &what);
    }
}

/// Checks keys in files; `--online` checks published keys.
pub(crate) fn roca_keys(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    for issuer in issuers(inputs) {
        let KeysAt::Path(path) = &issuer.keys else {
            continue;
        };
        for (place, modulus) in jwt::rsa_moduli(path) {
            if roca::has_fingerprint(&modulus) {
                let what = format!("{place}: {}", roca::PROBLEM);
                context.add_for_sasl(Severity::Warning, &issuer.option("keys"), &what);
            }
        }
    }
}
