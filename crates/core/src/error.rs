//! Why a login failed: five kinds, each with its reasons.
//!
//! The kind decides what the client and the host learn. The [`Reason`] is for the log only.

#![forbid(unsafe_code)]

use std::fmt;

/// What a failure means to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The client's message or credential is malformed.
    Malformed,
    /// The credential is invalid, or does not authenticate the requested user.
    Refused,
    /// The credential is valid, and the policy does not allow it.
    NotAllowed,
    /// Nobody could say whether the credential is valid. An outage is never cached.
    Unavailable,
    /// A defect of the plugin.
    Internal,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::Refused,
        Self::NotAllowed,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The stable word for the kind in the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable => "unavailable",
            Self::Internal => "failed",
        }
    }
}

/// Declares [`Reason`] with the code, kind and cacheability of each variant in one table.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $code:literal $kind:ident $memory:ident;)+) => {
        /// Why a login failed. The log shows [`Reason::code`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The stable word for the reason in the log.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)+ }
            }

            /// What the failure means to the client.
            pub fn kind(self) -> FailureKind {
                match self { $(Reason::$name => FailureKind::$kind,)+ }
            }

            /// Whether the same credential would fail again for the same reason, so that the
            /// failure may become a negative entry.
            pub fn is_definite(self) -> bool {
                match self { $(Reason::$name => reasons!(@$memory),)+ }
            }
        }
    };
    (@definite) => { true };
    (@passing) => { false };
}

reasons! {
    /// The first message of the mechanism cannot be parsed.
    MessageMalformed "message_malformed" Malformed passing;
    /// The ticket has not the form of one.
    TicketMalformed "ticket_malformed" Malformed passing;
    /// The token has not the form of one.
    TokenMalformed "token_malformed" Refused definite;
    /// The token's header demands something that is not supported.
    HeaderNotAllowed "header_not_allowed" Refused definite;
    /// The token's type is not in jwt_types.
    TypeNotAllowed "type_not_allowed" Refused definite;
    /// The token is unsigned, or signed with an algorithm that is not allowed.
    AlgorithmNotAllowed "algorithm_not_allowed" Refused passing;
    /// The token's claims cannot be read unambiguously.
    ClaimsMalformed "claims_malformed" Refused definite;
    /// A required claim is missing.
    ClaimMissing "claim_missing" Refused definite;
    /// No issuer of this name is configured.
    IssuerNotAllowed "issuer_not_allowed" Refused definite;
    /// The token is intended for others.
    AudienceNotAllowed "audience_not_allowed" Refused definite;
    /// The issuer has no key with the token's `kid`.
    KeyUnknown "key_unknown" Refused passing;
    /// The token contains or points to a key of its own, and no key of the issuer verifies it.
    KeyForeign "key_foreign" Refused passing;
    /// The signature was not made with the issuer's key.
    SignatureWrong "signature_wrong" Refused passing;
    /// The token has expired.
    TokenExpired "token_expired" Refused definite;
    /// The token is not valid yet.
    TokenNotYetValid "token_not_yet_valid" Refused passing;
    /// The token claims to have been issued in the future.
    TokenFromTheFuture "token_from_the_future" Refused passing;
    /// The token is older than jwt_max_age.
    TokenTooOld "token_too_old" Refused definite;
    /// The token is an ID token, which tells a client who logged in, and no access token.
    IdToken "id_token" Refused definite;
    /// The token was issued for a client, not for a person.
    ClientToken "client_token" Refused definite;
    /// The token is bound to a key of its client.
    TokenBound "token_bound" Refused definite;
    /// The claim of jwt_user_claim is missing or no text.
    UserClaimUnusable "user_claim_unusable" Refused definite;
    /// The CAS server refuses the ticket.
    TicketRefused "ticket_refused" Refused definite;
    /// The CAS server's reply names more than one user, or could be understood in two ways.
    ReplyAmbiguous "reply_ambiguous" Refused definite;
    /// The CAS server's reply has a document type definition.
    ReplyForbidden "reply_forbidden" Refused passing;
    /// The user name cannot be a mail user.
    UserUnusable "user_unusable" Refused definite;
    /// The client claims to be another user than the credential's.
    UserMismatch "user_mismatch" Refused passing;
    /// The host's canonicalization rejects the user name.
    UserNotAccepted "user_not_accepted" Refused passing;
    /// The host's canonicalization turned the mail user into another name.
    UserRewritten "user_rewritten" NotAllowed passing;
    /// The mail user is listed in sso_denied_users.
    UserDenied "user_denied" NotAllowed passing;
    /// The password is an ordinary one, and there is no fallback to check it.
    NoCredential "no_credential" Refused passing;
    /// A proxy of the ticket's chain matches no pattern of caspt_proxies.
    ProxyNotAllowed "proxy_not_allowed" NotAllowed definite;
    /// The ticket came without a proxy, and caspt_allow_direct is not set.
    DirectNotAllowed "direct_not_allowed" NotAllowed definite;
    /// The token lacks a scope that jwt_require demands.
    ScopeMissing "scope_missing" NotAllowed definite;
    /// A condition of caspt_require or jwt_require is not met.
    RuleNotMet "rule_not_met" NotAllowed definite;
    /// The user has not exactly one value of caspt_user_attribute.
    UserAttributeMissing "user_attribute_missing" NotAllowed definite;
    /// No connection to the SSO server could be established.
    ServerUnreachable "server_unreachable" Unavailable passing;
    /// The SSO server did not answer in time.
    ServerTimeout "server_timeout" Unavailable passing;
    /// The SSO server's certificate is not trusted.
    ServerUntrusted "server_untrusted" Unavailable passing;
    /// The trusted CAs cannot be read.
    TrustUnusable "trust_unusable" Unavailable passing;
    /// The issuer's keys cannot be read, or none of them is usable.
    KeysUnusable "keys_unusable" Unavailable passing;
    /// The SSO server's answer is not a reply of its protocol.
    ReplyUnusable "reply_unusable" Unavailable passing;
    /// The circuit breaker is open: the SSO server has not answered for a while.
    ServerAvoided "server_avoided" Unavailable passing;
    /// The rate limit is exceeded: CAS refused too many tickets.
    BudgetSpent "budget_spent" Unavailable passing;
    /// The session cache of the host exists and cannot be read now.
    SessionsUnreadable "sessions_unreadable" Unavailable passing;
    /// The daemon has as much work as it accepts.
    Busy "busy" Unavailable passing;
    /// The host's own saslauthd, which checks ordinary passwords, does not answer or cannot be
    /// trusted with them.
    FallbackUnusable "fallback_unusable" Unavailable passing;
    /// The host's own user directory, in which it looks names up, does not answer.
    UserLookupFailed "user_lookup_failed" Unavailable passing;
    /// The process has no free descriptor, thread or memory.
    ProcessExhausted "process_exhausted" Unavailable passing;
    /// The host wants to end the process.
    Interrupted "interrupted" Unavailable passing;
    /// A defect of the plugin, to be reported.
    InternalError "internal_error" Internal passing;
}

impl Reason {
    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }
}

/// A failed login: the reason, and a sentence for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: Reason,
    detail: String,
}

impl Failure {
    /// Creates a failure. `detail` is logged and must not contain a credential.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The details, for the administrator.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the failure means to the client.
    pub fn kind(&self) -> FailureKind {
        self.reason.kind()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.detail)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_single_words_and_unique() {
        for reason in Reason::ALL {
            assert!(
                reason
                    .code()
                    .bytes()
                    .all(|b| b == b'_' || b.is_ascii_lowercase())
            );
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
    }

    #[test]
    fn outages_are_never_definite() {
        for reason in Reason::ALL {
            let definite = matches!(
                reason.kind(),
                FailureKind::Refused | FailureKind::NotAllowed
            );
            assert!(definite || !reason.is_definite(), "{reason:?}");
        }
    }
}
