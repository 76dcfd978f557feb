//! Why a login failed: four kinds, each with its causes.
//!
//! The kind decides what the client and the host are told, the [`Reason`] is
//! for the log and for nobody else.

#![forbid(unsafe_code)]

use std::fmt;

/// What a failure means to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The client's message or credential does not have the form it must have.
    Malformed,
    /// The credential is not good, or not good for the user asked for.
    Refused,
    /// The credential is good, and policy says no all the same.
    NotAllowed,
    /// Nobody could say whether the credential is good. Never held against it.
    Unavailable,
    /// A fault of this plugin.
    Internal,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::Refused,
        Self::NotAllowed,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The stable word for it in the log.
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

/// Declares [`Reason`] with its code, kind and memory in one table.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $code:literal $kind:ident $memory:ident;)+) => {
        /// Why a login failed. [`Reason::code`] is what the log shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The stable word for it in the log.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)+ }
            }

            /// What it means to the client.
            pub fn kind(self) -> FailureKind {
                match self { $(Reason::$name => FailureKind::$kind,)+ }
            }

            /// Whether the same credential would fail again for the same
            /// reason, so that it may be remembered for some seconds.
            pub fn is_definite(self) -> bool {
                match self { $(Reason::$name => reasons!(@$memory),)+ }
            }
        }
    };
    (@definite) => { true };
    (@passing) => { false };
}

reasons! {
    /// The first message of the mechanism does not parse.
    MessageMalformed "message_malformed" Malformed passing;
    /// What stands where the ticket should be is not one.
    TicketMalformed "ticket_malformed" Malformed passing;
    /// What stands where the token should be is not one.
    TokenMalformed "token_malformed" Refused definite;
    /// The token's header asks for something that is not to be had.
    HeaderNotAllowed "header_not_allowed" Refused definite;
    /// The token's type is not in jwt_types.
    TypeNotAllowed "type_not_allowed" Refused definite;
    /// The token is not signed, or by an algorithm that is not allowed here.
    AlgorithmNotAllowed "algorithm_not_allowed" Refused passing;
    /// The token's claims cannot be read without doubt.
    ClaimsMalformed "claims_malformed" Refused definite;
    /// A claim that must be there is not.
    ClaimMissing "claim_missing" Refused definite;
    /// No issuer of that name is configured.
    IssuerNotAllowed "issuer_not_allowed" Refused definite;
    /// The token is meant for others.
    AudienceNotAllowed "audience_not_allowed" Refused definite;
    /// None of the issuer's keys is the token's.
    KeyUnknown "key_unknown" Refused passing;
    /// The token brings or points to a key of its own, and no key of the
    /// issuer's verifies it.
    KeyForeign "key_foreign" Refused passing;
    /// The signature is not that of the issuer's key.
    SignatureWrong "signature_wrong" Refused passing;
    /// The token's time is over.
    TokenExpired "token_expired" Refused definite;
    /// The token's time has not come.
    TokenNotYetValid "token_not_yet_valid" Refused passing;
    /// The token says that it was issued in the future.
    TokenFromTheFuture "token_from_the_future" Refused passing;
    /// The token was issued longer ago than jwt_max_age.
    TokenTooOld "token_too_old" Refused definite;
    /// The token says who logged in to a client, and opens nothing.
    IdToken "id_token" Refused definite;
    /// The token speaks for a client, not for a person.
    ClientToken "client_token" Refused definite;
    /// The token is good only in the hands of who has another key.
    TokenBound "token_bound" Refused definite;
    /// The token has no text as jwt_user_claim.
    UserClaimUnusable "user_claim_unusable" Refused definite;
    /// The CAS server does not accept the ticket.
    TicketRefused "ticket_refused" Refused definite;
    /// The CAS server's reply names more than one user, or does it in a way
    /// that another reader could understand differently.
    ReplyAmbiguous "reply_ambiguous" Refused definite;
    /// The CAS server's reply has a document type definition.
    ReplyForbidden "reply_forbidden" Refused passing;
    /// The user name of the reply cannot be a mail user.
    UserUnusable "user_unusable" Refused definite;
    /// The client claims to be somebody else than the credential says.
    UserMismatch "user_mismatch" Refused passing;
    /// The host's own canonicalization does not take the user name.
    UserNotAccepted "user_not_accepted" Refused passing;
    /// The host's canonicalization made another name of the mail user.
    UserRewritten "user_rewritten" NotAllowed passing;
    /// The mail user is listed in sso_denied_users.
    UserDenied "user_denied" NotAllowed passing;
    /// An ordinary password, and nobody to check it.
    NoCredential "no_credential" Refused passing;
    /// A proxy of the ticket's chain matches no pattern of caspt_proxies.
    ProxyNotAllowed "proxy_not_allowed" NotAllowed definite;
    /// The ticket came without a proxy, and caspt_allow_direct is not set.
    DirectNotAllowed "direct_not_allowed" NotAllowed definite;
    /// The token lacks a scope that jwt_require asks for.
    ScopeMissing "scope_missing" NotAllowed definite;
    /// A condition of caspt_require or jwt_require is not met.
    RuleNotMet "rule_not_met" NotAllowed definite;
    /// The user has not exactly one value of caspt_user_attribute.
    UserAttributeMissing "user_attribute_missing" NotAllowed definite;
    /// No connection to the SSO server could be made.
    ServerUnreachable "server_unreachable" Unavailable passing;
    /// The SSO server did not answer in time.
    ServerTimeout "server_timeout" Unavailable passing;
    /// The SSO server's certificate is not trusted.
    ServerUntrusted "server_untrusted" Unavailable passing;
    /// The CAs that shall be trusted cannot be read.
    TrustUnusable "trust_unusable" Unavailable passing;
    /// The issuer's keys cannot be read, or there is none among them.
    KeysUnusable "keys_unusable" Unavailable passing;
    /// The SSO server answered something that is not a reply of its protocol.
    ReplyUnusable "reply_unusable" Unavailable passing;
    /// The SSO server has not answered; it is left alone for some seconds.
    ServerAvoided "server_avoided" Unavailable passing;
    /// CAS refused so many tickets that new ones are not asked about for a while.
    BudgetSpent "budget_spent" Unavailable passing;
    /// The sessions of the host are there, and cannot be read now.
    SessionsUnreadable "sessions_unreadable" Unavailable passing;
    /// The daemon has more to do than it may take on.
    Busy "busy" Unavailable passing;
    /// The host's own saslauthd, which checks ordinary passwords, does not answer, or is
    /// not to be trusted with them.
    FallbackUnusable "fallback_unusable" Unavailable passing;
    /// The host's own directory of users, in which it looks the name up, does not answer.
    UserLookupFailed "user_lookup_failed" Unavailable passing;
    /// The process has no descriptor, thread or memory left to ask with.
    ProcessExhausted "process_exhausted" Unavailable passing;
    /// The host wants to end the process.
    Interrupted "interrupted" Unavailable passing;
    /// A fault of this plugin, which should be reported.
    InternalError "internal_error" Internal passing;
}

impl Reason {
    /// The reason whose code this is.
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
    /// `detail` must not hold a credential: it is logged.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What exactly, for the administrator.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What it means to the client.
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
    fn every_code_is_one_word_and_leads_back_to_its_reason() {
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
    fn an_outage_is_never_remembered() {
        for reason in Reason::ALL {
            let definite = matches!(
                reason.kind(),
                FailureKind::Refused | FailureKind::NotAllowed
            );
            assert!(definite || !reason.is_definite(), "{reason:?}");
        }
    }
}
