//! The keys of an issuer, and which of them may verify a token.

#![forbid(unsafe_code)]

use super::verification_key::Key;
use crate::error::{Failure, Reason};
use crate::jwt::jws::{Header, Parts};
use crate::platform::log::quoted;
use crate::policy::jws_algorithm::{Algorithm, Family};

/// Usable keys, and why other keys of the same source are not usable.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    pub(crate) keys: Vec<Key>,
    pub(crate) unusable: Vec<String>,
}

/// Why no key of a set verifies a token.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) failure: Failure,
    /// Whether the set lacks the key that the token names. If newer keys cannot be fetched either,
    /// the signature is neither right nor wrong: the result is an outage.
    pub(crate) is_unknown: bool,
}

impl KeySet {
    /// Verifies a token's signature with each key that its header allows.
    ///
    /// # Errors
    /// [`Reason::SignatureWrong`], [`Reason::KeyUnknown`] or [`Reason::AlgorithmNotAllowed`];
    /// [`Reason::KeyForeign`] instead of each of them if the token contains a key of its own.
    pub(crate) fn verify(&self, header: &Header, token: &Parts<'_>) -> Result<(), Unverified> {
        let named = self.named(header);
        let verified = self.candidates(header, named).any(|key| {
            key.verifies(
                header.algorithm,
                token.signing_input.as_bytes(),
                &token.signature,
            )
        });
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

    /// Lists the keys that are tried, and why the others are not.
    pub(crate) fn describe(&self, header: &Header) -> String {
        /// The maximum number of keys listed that are not tried.
        const MAX_OTHERS: usize = 10;
        let (mut listed, mut others) = (Vec::new(), Vec::new());
        for key in &self.keys {
            match self.why_not_tried(key, header) {
                None => listed.push(format!("{} is tried", name(key))),
                Some(why) => others.push(format!("{}: {why}", name(key))),
            }
        }
        let left_out = others.len().saturating_sub(MAX_OTHERS);
        others.truncate(MAX_OTHERS);
        listed.extend(others);
        if left_out > 0 {
            listed.push(format!("{left_out} more"));
        }
        listed.join("; ")
    }

    /// Why a key is not tried; `None` if it is.
    fn why_not_tried(&self, key: &Key, header: &Header) -> Option<&'static str> {
        let mut candidates = self.candidates(header, self.named(header));
        match key.fits(header.algorithm) {
            _ if candidates.any(|candidate| std::ptr::eq(candidate, key)) => None,
            true => Some("its kid is another"),
            false => Some("not for this algorithm"),
        }
    }

    /// Whether this set has a key with the `kid` of the token.
    fn named(&self, header: &Header) -> bool {
        let is_named = |key: &Key| key.kid().is_some() && key.kid() == header.kid.as_deref();
        self.keys.iter().any(is_named)
    }

    /// The keys to try: those with the token's `kid`; if there are none, those without a `kid`; all
    /// if the token has no `kid`. Only keys that fit the token's algorithm are tried.
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

/// A key's `kid` or file, and the algorithms that it is for.
fn name(key: &Key) -> String {
    let kid = key.kid().map(|kid| format!("kid {}", quoted(kid)));
    let file = key.file().map(|file| quoted(file).into_owned());
    let name = kid.or(file).unwrap_or("one without a kid".to_owned());
    let algorithms: Vec<&str> = key.algorithms().map(Algorithm::name).collect();
    format!("{name} ({})", algorithms.join(" "))
}
