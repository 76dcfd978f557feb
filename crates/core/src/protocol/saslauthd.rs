//! The protocol of saslauthd, as libsasl2 speaks it (`saslauthd_verify_password`). A request has
//! the fields user, password, service and realm, each after its length in two bytes, most
//! significant byte first. The answer has the same form and begins with `OK` or `NO`.

#![forbid(unsafe_code)]

use super::{identity, malformed, text};
use crate::error::Failure;

/// The maximum length of a request, in bytes: twice what libsasl2 can send, which is less than
/// 8,192.
pub const MAX_REQUEST_BYTES: usize = 16_384;

/// The answer for a valid password.
pub const OK: &[u8] = b"\0\x02OK";

/// The answer for everything else, whatever the reason.
pub const NO: &[u8] = b"\0\x02NO";

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'m> {
    /// The complete request, to be passed on unchanged.
    pub bytes: &'m [u8],
    user: &'m [u8],
    /// The password, or a credential in its place.
    pub password: &'m [u8],
    service: &'m [u8],
    realm: &'m [u8],
    client: Option<&'m [u8]>,
}

impl<'m> Request<'m> {
    /// Parses what has arrived so far. Returns `None` if the request is incomplete.
    ///
    /// Newer clients send the address of their own client in a fifth field. The daemon does not
    /// wait for it, because it arrives together with the other fields.
    ///
    /// # Errors
    /// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) if the request is too
    /// long.
    pub fn parse(bytes: &'m [u8]) -> Result<Option<Self>, Failure> {
        let mut rest = bytes;
        let mut fields = [&[][..]; 4];
        for place in &mut fields {
            let used = bytes.len() - rest.len();
            let Some((length, body)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if used + 2 + length > MAX_REQUEST_BYTES {
                return Err(malformed("is longer than 16384 bytes"));
            }
            let Some((field, left)) = body.split_at_checked(length) else {
                return Ok(None);
            };
            (*place, rest) = (field, left);
        }
        let [user, password, service, realm] = fields;
        let client = rest.split_first_chunk().and_then(|(length, body)| {
            let length = usize::from(u16::from_be_bytes(*length));
            body.get(..length)
        });
        let left = rest.len() - client.map_or(0, |client| 2 + client.len());
        Ok(Some(Self {
            bytes: &bytes[..bytes.len() - left],
            user,
            password,
            service,
            realm,
            client,
        }))
    }

    /// The user name. libsasl2 sends it in two fields, split at its last `@`. `None` if it is
    /// empty.
    ///
    /// # Errors
    /// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) if it cannot be a name.
    pub fn login(&self) -> Result<Option<String>, Failure> {
        let (user, realm) = (text(self.user)?, text(self.realm)?);
        if realm.is_empty() {
            return identity(user);
        }
        identity(&format!("{user}@{realm}"))
    }

    /// The host application's name of the service, in lower case as in URLs: httpd sends `HTTP`.
    ///
    /// # Errors
    /// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) if it cannot be a part
    /// of a URL.
    pub fn service(&self) -> Result<String, Failure> {
        let service = text(self.service)?.to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if service.is_empty() || service.len() > 64 || !service.bytes().all(is_name) {
            return Err(malformed("names no service"));
        }
        Ok(service)
    }

    /// The address of the host's client, if the request contains it.
    pub fn client(&self) -> Option<&'m str> {
        std::str::from_utf8(self.client?).ok()
    }
}

/// Whether `answer` is complete.
///
/// # Errors
/// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) if it cannot be an answer.
pub fn is_complete(answer: &[u8]) -> Result<bool, Failure> {
    let Some((length, text)) = answer.split_first_chunk() else {
        return Ok(false);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < 2 || text.len() > length {
        return Err(malformed("is not of the length it says"));
    }
    match text.get(..2) {
        Some(b"OK" | b"NO") => Ok(text.len() == length),
        Some(_) => Err(malformed("begins with neither OK nor NO")),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[&[u8]]) -> Vec<u8> {
        let field = |field: &&[u8]| [&(field.len() as u16).to_be_bytes()[..], field].concat();
        fields.iter().flat_map(field).collect()
    }

    #[test]
    fn request_is_complete_after_four_fields() {
        let bytes = request(&[b"alice", b"PT-12345", b"HTTP", b"univ.fr"]);
        let whole = Request::parse(&bytes).unwrap().unwrap();
        assert_eq!(whole.login().unwrap().as_deref(), Some("alice@univ.fr"));
        assert_eq!(whole.password, b"PT-12345");
        assert_eq!(whole.service().unwrap(), "http");
        assert_eq!(whole.client(), None);
        for length in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..length]).unwrap(), None);
        }
    }

    #[test]
    fn fifth_field_is_the_address_of_the_client() {
        let mut bytes = request(&[b"alice", b"x", b"imap", b"", b"192.0.2.1"]);
        let whole = Request::parse(&bytes).unwrap().unwrap();
        assert_eq!(whole.client(), Some("192.0.2.1"));
        assert_eq!(whole.login().unwrap().as_deref(), Some("alice"));
        assert_eq!(whole.bytes, bytes);
        let four = bytes.len() - 11;
        bytes.pop();
        let whole = Request::parse(&bytes).unwrap().unwrap();
        assert_eq!(whole.client(), None);
        assert_eq!(whole.bytes, &bytes[..four]);
    }

    #[test]
    fn too_long_request_is_rejected_before_it_is_complete() {
        assert!(Request::parse(b"\xff\xff").is_err());
        assert!(Request::parse(b"\0\x01a\x3f\xfc").is_err());
        assert!(Request::parse(b"\0\x01a\x3f\xfb").unwrap().is_none());
    }

    #[test]
    fn invalid_names_are_rejected() {
        for (user, service, realm) in [
            (&b"al\xffce"[..], &b"im ap"[..], &b""[..]),
            (b"al\nice", b"", b""),
            (b"alice", b"imap/x", b"x\0y"),
        ] {
            let bytes = request(&[user, b"x", service, realm]);
            let whole = Request::parse(&bytes).unwrap().unwrap();
            assert!(whole.login().is_err(), "{whole:?}");
            assert!(whole.service().is_err(), "{whole:?}");
        }
        let bytes = request(&[b"", b"x", b"imap", b""]);
        let whole = Request::parse(&bytes).unwrap().unwrap();
        assert_eq!(whole.login().unwrap(), None);
    }

    #[test]
    fn answer_is_complete_at_its_length() {
        for (answer, is) in [
            (&b""[..], false),
            (b"\0", false),
            (b"\0\x02", false),
            (b"\0\x02O", false),
            (OK, true),
            (NO, true),
            (b"\0\x08NO sor", false),
            (b"\0\x08NO sorry", true),
        ] {
            assert_eq!(is_complete(answer).unwrap(), is, "{answer:?}");
        }
        assert!(is_complete(b"\0\x01O").is_err());
        assert!(is_complete(b"\0\x02OK!").is_err());
        assert!(is_complete(b"\0\x05MAYBE").is_err());
    }
}
