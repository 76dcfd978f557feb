//! The keys of an issuer, and which of them a token may be signed with.

#![forbid(unsafe_code)]

use super::verification_key::Key;
use crate::error::{Failure, Reason};
use crate::jwt::jws::{Compact, Header};
use crate::platform::log::quoted;
use crate::policy::jws_algorithm::Family;

/// Keys, and what was wrong with others that came with them.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    pub(crate) keys: Vec<Key>,
    pub(crate) complaints: Vec<String>,
}

/// Why no key of a set verifies a token.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) failure: Failure,
    /// Whether the token's key is one that this set does not have. If it is, and
    /// nobody can tell whether there is a newer set, nobody can tell.
    pub(crate) is_unknown: bool,
}

impl KeySet {
    /// Verifies the token's signature with the keys that it may be of.
    ///
    /// # Errors
    /// [`Reason::SignatureWrong`], [`Reason::KeyUnknown`],
    /// [`Reason::AlgorithmNotAllowed`], or [`Reason::KeyForeign`] instead of
    /// each of them.
    pub(crate) fn verify(&self, token: &Compact<'_>) -> Result<(), Unverified> {
        let header = &token.header;
        let named = self.named(header);
        let verified = self
            .candidates(header, named)
            .any(|key| key.verifies(header.algorithm, token.signed.as_bytes(), token.signature));
        if verified {
            return Ok(());
        }
        let failure = self.why_not(header, named);
        let failure = match header.foreign_key {
            None => failure,
            Some(name) => {
                let what =
                    format!("the token tells a key of its own ({name}), which is never used");
                Failure::new(Reason::KeyForeign, what)
            }
        };
        Err(Unverified {
            failure,
            is_unknown: !named,
        })
    }

    /// Whether a key may be the token's and, if not, why.
    pub(crate) fn why_not_by(&self, key: &Key, header: &Header) -> Option<&'static str> {
        let named = self.named(header);
        let is_one = self
            .candidates(header, named)
            .any(|one| std::ptr::eq(one, key));
        match key.fits(header.algorithm) {
            _ if is_one => None,
            true => Some("its kid is another"),
            false => Some("not for this algorithm"),
        }
    }

    /// Whether the token's key is named, and in this set.
    fn named(&self, header: &Header) -> bool {
        let is_named = |key: &Key| key.kid().is_some() && key.kid() == header.kid.as_deref();
        self.keys.iter().any(is_named)
    }

    /// The keys that the token may be signed with: those of its `kid` if there
    /// are any, else those that have none, or all if it names none.
    fn candidates(&self, header: &Header, named: bool) -> impl Iterator<Item = &Key> {
        let may_be = move |key: &&Key| match (key.kid(), header.kid.as_deref()) {
            (Some(ours), Some(its)) => ours == its,
            (None, Some(_)) => !named,
            (_, None) => true,
        };
        self.keys
            .iter()
            .filter(|key| key.fits(header.algorithm))
            .filter(may_be)
    }

    fn why_not(&self, header: &Header, named: bool) -> Failure {
        let algorithm = header.algorithm;
        if self.candidates(header, named).next().is_some() {
            let what = format!("no key of the issuer verifies the {algorithm} signature");
            return Failure::new(Reason::SignatureWrong, what);
        }
        match &header.kid {
            Some(kid) if !named => {
                let what = format!("the issuer has no key {} for {algorithm}", quoted(kid));
                Failure::new(Reason::KeyUnknown, what)
            }
            _ => {
                let mut what = format!("the issuer's key is not for {algorithm}");
                if algorithm.family() == Family::Hmac {
                    what += ", which needs a secret as long as its digest";
                }
                Failure::new(Reason::AlgorithmNotAllowed, what)
            }
        }
    }
}
