//! What the result of a login means to an administrator, and what to do about it.

#![forbid(unsafe_code)]

use serde_json::Value;

use super::mechanism::{Login, Mechanism};
use super::protocol::{Capabilities, Reply};

/// The result of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server accepted the credential.
    LoggedIn,
    /// The server rejected the credential, or does not allow it.
    Refused,
    /// The server does not offer the mechanism. The credential was not sent.
    NotOffered,
    /// The server could not validate the credential.
    Unavailable,
    /// The server did not answer.
    Failed,
}

impl Outcome {
    /// The outcome as it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LoggedIn => "logged in",
            Self::Refused => "refused",
            Self::NotOffered => "not offered",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// The result of a login, with an explanation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) outcome: Outcome,
    /// Sentences; empty after a successful login.
    pub(crate) explanation: String,
}

impl Diagnosis {
    /// The diagnosis of a login that got no answer.
    pub(crate) fn failed(problem: String) -> Self {
        Self {
            outcome: Outcome::Failed,
            explanation: problem,
        }
    }

    /// The diagnosis of the server's reply. `accepted_before` is set if the server accepted the
    /// same credential before.
    pub(crate) fn of_reply(reply: &Reply, login: &Login, accepted_before: bool) -> Self {
        let (outcome, explanation) = if reply.ok {
            (Outcome::LoggedIn, String::new())
        } else if let Some(explanation) = explain_outage(reply, login) {
            (Outcome::Unavailable, explanation.to_owned())
        } else if reply.text.contains("maildrop") {
            let explanation = "The credential is good, but the user has no INBOX";
            (Outcome::Refused, explanation.to_owned())
        } else {
            (
                Outcome::Refused,
                explain_refusal(reply, login, accepted_before),
            )
        };
        Self {
            outcome,
            explanation,
        }
    }

    /// The diagnosis of a mechanism that the server does not offer.
    pub(crate) fn not_offered(
        mechanism: Mechanism,
        capabilities: &Capabilities,
        is_secure: bool,
    ) -> Self {
        let remedy = match mechanism {
            _ if !is_secure => {
                "without TLS it is offered only with allowplaintext: yes. Use --starttls or --tls"
            }
            Mechanism::Login => "the server takes no password by a command, even under TLS",
            Mechanism::Plain => {
                "see that sasl_mech_list has it, and that sasl_sso_plain: yes is set or libplain.so \
                 is installed"
            }
            Mechanism::Caspt if capabilities.lists("OAUTHBEARER") => {
                "the plugin is there: see that sasl_mech_list has CASPT and that sasl_caspt_url is \
                 set"
            }
            Mechanism::OauthBearer | Mechanism::Xoauth2 if capabilities.lists("CASPT") => {
                "the plugin is there: see that sasl_mech_list has it and that sasl_jwt_keys is set"
            }
            _ => {
                "see that sasl_mech_list has it, that libsso.so is in the directory of the plugins, \
                 and that it is configured: `sasl-sso check` on the mail server says so, and its \
                 log says why the plugin was not loaded"
            }
        };
        let name = mechanism.name();
        Self {
            outcome: Outcome::NotOffered,
            explanation: format!(
                "{name} is not offered, and the credential was not sent: {remedy}"
            ),
        }
    }
}

/// The explanation of a reply that reports an outage; `None` for any other reply.
fn explain_outage(reply: &Reply, login: &Login) -> Option<&'static str> {
    let text = reply.text.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if is(&["unavailable", "trylater", "[sys/temp]"]) {
        return Some(
            "The mail server could not ask CAS or the issuer. The credential may be good: keep it, \
             and see outcome=unavailable in the mail server's log for the reason",
        );
    }
    if is(&["generic failure", "[inuse]"]) {
        return Some(
            "The mail server failed, whatever the credential is worth. Where passwords are checked, \
             see whether `sasl-sso serve` runs; the mail server's log says more",
        );
    }
    // timsieved reports every failure with the same sentence. A refusal by the plugin includes its
    // reason.
    let is_plugin_mechanism = !matches!(login.mechanism, Mechanism::Plain | Mechanism::Login);
    let is_silent = reply.challenge.is_none() && login.names.authzid.is_empty();
    (is_plugin_mechanism && is_silent && is(&["\"authentication error\""])).then_some(
        "The server does not say why, as it would of a refusal: most likely it could not ask CAS or \
         the issuer. If so the credential may be good: keep it, and see the mail server's log",
    )
}

fn explain_refusal(reply: &Reply, login: &Login, accepted_before: bool) -> String {
    let json = reply.challenge.as_deref().unwrap_or_default();
    let json: Value = serde_json::from_str(json).unwrap_or_default();
    let member = |name: &str| json[name].as_str().unwrap_or("?");
    let why = match member("status") {
        "invalid_ticket" if accepted_before => {
            "The same ticket was good a moment ago: the session was not kept, or not shared. See \
             sasl_sso_state_dir, the session's times, and `sessions are not shared` in the log"
                .to_owned()
        }
        "invalid_ticket" => format!(
            "The ticket was used before, its time is over, it is another user's, or it is not for \
             {}. Get a new one from {}",
            member("service"),
            member("cas"),
        ),
        "not_allowed" => "The ticket is good, and not allowed here: see sasl_caspt_proxies, \
             sasl_caspt_allow_direct and sasl_caspt_require"
            .to_owned(),
        "invalid_token" | "401" => "The token's time is over, it is another user's, of another \
             issuer, for another audience, or its signature is wrong. `sasl-sso explain` on the \
             mail server says which"
            .to_owned(),
        "insufficient_scope" | "403" => format!(
            "The token is good, and not allowed here: see sasl_jwt_require (scope: {})",
            member("scope"),
        ),
        "invalid_request" | "400" => "What was sent is not what the mechanism is for".to_owned(),
        _ if accepted_before => "The same credential was good a moment ago".to_owned(),
        _ => "The server does not say why".to_owned(),
    };
    let name = login.mechanism.name();
    match login.mechanism {
        Mechanism::Login | Mechanism::Plain => {
            format!("{why}. The mail server's log may have a line with reason=")
        }
        _ => format!("{why}. The mail server's log has it: sso: mech={name} … reason="),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::login::credential_input::CredentialInput;
    use crate::commands::login::mechanism::Names;
    use crate::commands::login::server_addr::Protocol;
    use crate::term::console::Console;
    use sso_core::error::FailureKind;
    use sso_core::protocol::{Hint, caspt, oauthbearer, xoauth2};

    fn diagnosis(text: &str, challenge: Option<String>, accepted_before: bool) -> Diagnosis {
        let (mut console, _, _) = Console::for_test("PT-12345");
        let credential = CredentialInput::read(None, &mut console).unwrap();
        let names = Names::default();
        let login = Login::new(Protocol::Imap, Mechanism::Caspt, names, &credential).unwrap();
        let reply = Reply {
            ok: text.starts_with("OK"),
            text: text.to_owned(),
            challenge,
        };
        Diagnosis::of_reply(&reply, &login, accepted_before)
    }

    #[test]
    fn outage_is_not_reported_as_refusal() {
        let text = "NO remote authentication server unavailable";
        let outage = diagnosis(text, None, false);
        assert_eq!(outage.outcome, Outcome::Unavailable);
        assert!(
            outage.explanation.contains("keep it"),
            "{}",
            outage.explanation
        );
        assert_eq!(diagnosis("OK", None, false).outcome, Outcome::LoggedIn);
        assert_eq!(diagnosis("NO", None, false).outcome, Outcome::Refused);
        let silent = "NO \"Authentication Error\"";
        assert_eq!(diagnosis(silent, None, false).outcome, Outcome::Unavailable);
        let with_challenge = Some("{}".to_owned());
        assert_eq!(
            diagnosis(silent, with_challenge, false).outcome,
            Outcome::Refused
        );
    }

    #[test]
    fn every_challenge_of_the_plugin_is_explained() {
        let hint = Hint::default();
        for kind in [
            FailureKind::Malformed,
            FailureKind::Refused,
            FailureKind::NotAllowed,
        ] {
            for challenge in [
                caspt::challenge(kind, "https://cas/", "imap://mail"),
                oauthbearer::challenge(kind, &hint),
                xoauth2::challenge(kind, &hint),
            ] {
                assert!(challenge.is_some(), "{kind:?}");
                let diagnosis = diagnosis("NO", challenge, false);
                assert_eq!(diagnosis.outcome, Outcome::Refused);
                assert!(
                    !diagnosis.explanation.contains("does not say why"),
                    "{kind:?}"
                );
            }
        }
        let again = caspt::challenge(FailureKind::Refused, "https://cas/", "imap://mail");
        let again = diagnosis("NO", again, true);
        assert!(
            again.explanation.contains("sso_state_dir"),
            "{}",
            again.explanation
        );
    }

    #[test]
    fn explanation_of_a_missing_mechanism_depends_on_the_offered_ones() {
        let explanation = |mechanism, mechanisms: &[&str], is_secure| {
            let capabilities = Capabilities {
                mechanisms: mechanisms.iter().map(|name| (*name).to_owned()).collect(),
                ..Capabilities::default()
            };
            Diagnosis::not_offered(mechanism, &capabilities, is_secure).explanation
        };
        assert!(explanation(Mechanism::Caspt, &[], false).contains("allowplaintext"));
        assert!(explanation(Mechanism::Caspt, &["PLAIN"], true).contains("libsso.so"));
        assert!(explanation(Mechanism::Caspt, &["OAUTHBEARER"], true).contains("sasl_caspt_url"));
        assert!(explanation(Mechanism::Xoauth2, &["CASPT"], true).contains("sasl_jwt_keys"));
        assert!(explanation(Mechanism::Plain, &["CASPT"], true).contains("sasl_sso_plain"));
    }
}
