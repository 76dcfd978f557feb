//! What an administrator can do about a failed login.

#![forbid(unsafe_code)]

use sso_core::error::{Failure, Reason};

/// Returns the remedy, as a sentence without a full stop.
pub(crate) fn remedy(failure: &Failure) -> &'static str {
    match failure.reason() {
        Reason::MessageMalformed => "look at the client: it does not speak the mechanism",
        Reason::TicketMalformed => "give the whole ticket and nothing else: PT-… or ST-…",
        Reason::TokenMalformed => {
            "give the whole JWT and nothing else: three parts with dots between"
        }
        Reason::HeaderNotAllowed => "have the issuer sign plain access tokens (JWS, without crit)",
        Reason::TypeNotAllowed => "send an access token; if this is one, add its typ to jwt_types",
        Reason::AlgorithmNotAllowed => {
            "have the issuer sign by an algorithm of its keys that jwt_algorithms allows"
        }
        Reason::ClaimsMalformed => "look at the issuer: what it signs cannot be read without doubt",
        Reason::ClaimMissing => {
            "have the issuer write iat and exp, or set jwt_max_age for want of exp"
        }
        Reason::IssuerNotAllowed => {
            "compare iss with jwt_issuer to the letter, a / at the end included"
        }
        Reason::AudienceNotAllowed => {
            "have the issuer write one of jwt_audience into aud, or add what it writes to jwt_audience"
        }
        Reason::KeyUnknown => "compare kid with the keys that the issuer publishes; see jwt_keys",
        Reason::KeyForeign => "look where the token is from: the issuer's own keys did not sign it",
        Reason::SignatureWrong => {
            "give the whole token; if it is, look whether jwt_keys has the keys of this issuer"
        }
        Reason::TokenExpired => "get a new token; if it is new, compare the clocks",
        Reason::TokenNotYetValid | Reason::TokenFromTheFuture => {
            "compare the clocks of this host and the issuer; see jwt_leeway"
        }
        Reason::TokenTooOld => "get a new token, or raise jwt_max_age",
        Reason::IdToken => "have the client send its access token, not the ID token",
        Reason::ClientToken => {
            "have a person log in; or set jwt_allow_clients, if clients may open mailboxes of their name"
        }
        Reason::TokenBound => {
            "have the issuer give this client bearer tokens, without DPoP or mTLS"
        }
        Reason::UserClaimUnusable => "set jwt_user_claim to a claim that has the user's name",
        Reason::TicketRefused => of_cas(failure.detail()),
        Reason::ReplyAmbiguous | Reason::ReplyForbidden => {
            "look at the attributes that CAS releases, and at what stands between it and here"
        }
        Reason::UserUnusable => "see jwt_user_claim, caspt_user_attribute and sso_strip_domain",
        Reason::UserMismatch => {
            "have the client say the name that the credential has; see sso_strip_domain and sso_realm"
        }
        Reason::UserNotAccepted => "look at imapd's own line in the log",
        Reason::UserRewritten => {
            "set sso_realm where virtdomains: on adds a domain; or see sso_host_names"
        }
        Reason::UserDenied => {
            "log in with a password as this user; or take the name out of sso_denied_users"
        }
        Reason::UserLookupFailed => {
            "look to the server that sasl_auxprop_plugin or sasl_canon_user_plugin asks"
        }
        Reason::NoCredential => "set sso_fallback_socket, if passwords are to be checked",
        Reason::ProxyNotAllowed => "if this portal may present users, add its URL to caspt_proxies",
        Reason::DirectNotAllowed => "have the client get a proxy ticket; or set caspt_allow_direct",
        Reason::ScopeMissing => "have the client ask for that scope, and the issuer grant it",
        Reason::RuleNotMet => "compare with caspt_require or jwt_require what was found",
        Reason::UserAttributeMissing => "have CAS release caspt_user_attribute, with one value",
        Reason::ServerUnreachable => {
            "look whether the server is up, and whether a firewall is between"
        }
        Reason::ServerTimeout => "look why the server is slow; see caspt_timeout and jwt_timeout",
        Reason::ServerUntrusted => {
            "mend its certificate, or have the CA that signed it trusted: by the system, or by the \
             file of caspt_ca_file or jwt_ca_file, which counts alone"
        }
        Reason::TrustUnusable => {
            "look to caspt_ca_file or jwt_ca_file, and whether imapd may read it"
        }
        Reason::KeysUnusable => "look to the file of jwt_keys, and whether imapd may read it",
        Reason::ReplyUnusable => {
            "look whether caspt_url or jwt_keys is the address that it should be"
        }
        Reason::ServerAvoided => "mend the server, or wait some seconds",
        Reason::BudgetSpent => {
            "find who sends bad tickets, and wait a minute; see caspt_rate_limit"
        }
        Reason::SessionsUnreadable => {
            "see the detail; often a process was stopped in the middle of a login: end it"
        }
        Reason::Busy => "wait, and look who keeps the daemon busy",
        Reason::FallbackUnusable => {
            "look whether the saslauthd at sso_fallback_socket runs, and as which user"
        }
        Reason::ProcessExhausted => {
            "raise the limits of the process (LimitNOFILE), or look what uses them up"
        }
        Reason::Interrupted => "try again",
        Reason::InternalError => "report it",
    }
}

/// The remedy for a ticket that CAS refuses, by the error code (CAS protocol 3.0, section 2.5.3).
fn of_cas(detail: &str) -> &'static str {
    let code = detail.strip_prefix("CAS says ");
    match code.and_then(|rest| rest.split(':').next()) {
        Some("INVALID_SERVICE") => {
            "have the client get its ticket for exactly the service above, or set caspt_service to \
             the one that it gets it for"
        }
        Some("INVALID_TICKET") => {
            "get a new ticket: it was used before, or its time is over, or another CAS made it"
        }
        Some("UNAUTHORIZED_SERVICE" | "UNAUTHORIZED_SERVICE_PROXY") => {
            "have CAS know the service above, and let its proxies get tickets for it"
        }
        Some("INVALID_TICKET_SPEC") => "get a proxy ticket, or a new service ticket",
        Some("INVALID_REQUEST") => {
            "look what stands between here and CAS: it takes parts of the URL"
        }
        _ => "get a new ticket, for exactly the service above; see the log of CAS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_for_a_refused_ticket_depends_on_the_error_code() {
        let of = |code: &str| {
            let detail = format!("CAS says {code}: no");
            remedy(&Failure::new(Reason::TicketRefused, detail))
        };
        assert!(of("INVALID_SERVICE").contains("caspt_service"));
        assert!(of("INVALID_TICKET").contains("used before"));
        assert_eq!(of("X"), of("Y"));
    }

    #[test]
    fn documentation_of_the_log_has_the_same_remedies() {
        let guide = include_str!("../../../../../docs/log.md").replace('`', "");
        let row = |reason: &Reason| {
            let begin = format!("| {} | ", reason.code());
            guide.lines().find(|line| line.starts_with(&begin)).unwrap()
        };
        let reasons = Reason::ALL
            .iter()
            .filter(|reason| **reason != Reason::TicketRefused);
        for reason in reasons {
            let remedy = remedy(&Failure::new(*reason, ""));
            assert!(row(reason).contains(remedy), "{remedy}\n{}", row(reason));
        }
    }
}
