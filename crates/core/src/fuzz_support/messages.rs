//! Fuzz targets for the messages of the mechanisms and of the daemon.

#![forbid(unsafe_code)]

use super::input::line;
use crate::credential::{Credential, CredentialKind, Ticket, Token};
use crate::error;
use crate::protocol::plain::Plain;
use crate::protocol::saslauthd::{MAX_REQUEST_BYTES, Request, is_complete};
use crate::protocol::{Hint, Message, caspt, oauthbearer, xoauth2};

/// CASPT, which is PLAIN with a ticket. Both parsers agree, and the ticket is recognized as a
/// credential.
pub(crate) fn caspt_and_plain(data: &[u8]) {
    let message = caspt::parse(data);
    let plain = Plain::parse(data);
    if let Ok(message) = &message {
        check_names(message);
        let [authzid, authcid] = [&message.authzid, &message.authcid];
        let [authzid, authcid] = [authzid, authcid].map(|name| name.as_deref().unwrap_or(""));
        let written = format!("{authzid}\0{authcid}\0{}", message.credential.expose());
        assert_eq!(written.as_bytes(), data);
        let plain = plain.as_ref().expect("a message of PLAIN");
        assert_eq!(
            CredentialKind::of_password(plain.password),
            Some(CredentialKind::Ticket)
        );
    }
    let Ok(plain) = plain else {
        assert!(message.is_err());
        return;
    };
    let parts = [plain.authzid, plain.authcid, plain.password];
    assert_eq!(parts.join(&0), data);
    for kind in [CredentialKind::Ticket, CredentialKind::Token] {
        let Ok(same) = plain.message(kind) else {
            assert!(kind == CredentialKind::Token || message.is_err());
            continue;
        };
        check_names(&same);
        assert_eq!(same.credential.kind(), kind);
        assert_eq!(same.credential.expose().as_bytes(), plain.password);
        if kind == CredentialKind::Ticket {
            let message = message.as_ref().expect("a message of CASPT");
            assert_eq!(message.authzid, same.authzid);
            assert_eq!(message.authcid, same.authcid);
        }
    }
    for kind in error::FailureKind::ALL {
        check_challenge(caspt::challenge(kind, "https://cas.example/", &shown(data)));
    }
}

/// OAUTHBEARER. A parsed message that is serialized as in RFC 7628 is parsed to the same.
pub(crate) fn oauthbearer(data: &[u8]) {
    let Ok(message) = oauthbearer::parse(data) else {
        return;
    };
    check_names(&message);
    check_token(&message, data);
    let name = message.authzid.as_deref().unwrap_or("");
    let name = name.replace('=', "=3D").replace(',', "=2C");
    let token = message.credential.expose();
    let written = format!("n,a={name},\x01auth=Bearer {token}\x01\x01");
    let again = oauthbearer::parse(written.as_bytes()).expect("what was written");
    assert_eq!(again.authzid, message.authzid);
    assert_eq!(again.credential.expose(), token);
    check_challenges(&shown(data));
}

/// XOAUTH2. A parsed message that is serialized again is parsed to the same.
pub(crate) fn xoauth2(data: &[u8]) {
    let Ok(message) = xoauth2::parse(data) else {
        return;
    };
    check_names(&message);
    check_token(&message, data);
    let name = message.authcid.as_deref().unwrap_or("");
    let token = message.credential.expose();
    let written = format!("user={name}\x01auth=Bearer {token}\x01\x01");
    let again = xoauth2::parse(written.as_bytes()).expect("what was written");
    assert_eq!(again.authcid, message.authcid);
    assert_eq!(again.credential.expose(), token);
    // No message is valid for both mechanisms.
    assert!(oauthbearer::parse(data).is_err());
}

/// The text in the place of a password. A decorated ticket or token is always recognized.
pub(crate) fn password(data: &[u8]) {
    let kind = CredentialKind::of_password(data);
    let text = std::str::from_utf8(data).unwrap_or_default();
    if Ticket::parse(text).is_ok() {
        assert_eq!(kind, Some(CredentialKind::Ticket));
    }
    if Token::parse(text).is_ok_and(|token| crate::fuzz_support::jwt::is_readable(&token)) {
        assert_eq!(kind, Some(CredentialKind::Token));
    }
    // Decorations do not change the result.
    for (before, after) in [
        (&b" "[..], &b"\r\n"[..]),
        (b"\0\t", b"\0"),
        (b"\"", b"\""),
        (b"'", b"'"),
    ] {
        let around = [before, data, after].concat();
        assert_eq!(CredentialKind::of_password(&around), kind);
    }
    if kind == Some(CredentialKind::Token) {
        for (before, after) in [
            (&b"access_token="[..], &b"&token_type=bearer"[..]),
            (b"user=alice\x01auth=Bearer ", b"\x01\x01"),
            (b"{\"access_token\":\"", b"\"}"),
        ] {
            let wrapped = [before, data, after].concat();
            assert_eq!(CredentialKind::of_password(&wrapped), kind);
        }
    }
    if let Some(kind) = kind
        && let Ok(credential) = Credential::parse(kind, data)
    {
        assert_eq!(credential.kind(), kind);
        assert_eq!(credential.expose().as_bytes(), data);
    }
}

/// A request to the daemon. It is parsed to the same in any number of pieces, and is complete as
/// early as possible. The first line is an answer of saslauthd.
pub(crate) fn saslauthd(data: &[u8]) {
    let (answer, data) = line(data);
    check_answer(answer);
    let whole = Request::parse(data);
    let mut seen = None;
    for end in 0..=data.len().min(MAX_REQUEST_BYTES + 2) {
        match (Request::parse(&data[..end]), seen) {
            (Ok(None), None) => {}
            (Ok(Some(request)), None) => {
                assert!(request.bytes.len() <= MAX_REQUEST_BYTES);
                assert_eq!(request.bytes, &data[..end]);
                seen = Some(end);
            }
            // Only a fifth field can be added.
            (Ok(Some(request)), Some(first)) => {
                let shorter = Request::parse(&data[..first]);
                let shorter = shorter.expect("a request").expect("a whole one");
                assert_eq!(request.password, shorter.password);
                assert_eq!(request.login(), shorter.login());
                assert_eq!(request.service(), shorter.service());
            }
            (Err(failure), None) => {
                assert_eq!(whole.as_ref().expect_err("too long"), &failure);
                break;
            }
            (other, Some(_)) => panic!("it is whole no more: {other:?}"),
        }
    }
    let Ok(Some(request)) = whole else {
        return;
    };
    assert!(data.starts_with(request.bytes));
    assert_eq!(
        Request::parse(request.bytes),
        Ok(Some(
            Request::parse(request.bytes)
                .expect("a request")
                .expect("a whole one")
        ))
    );
    if let Ok(Some(login)) = request.login() {
        assert!(!login.is_empty() && login.len() <= 255 && !login.contains('\0'));
    }
    if let Ok(service) = request.service() {
        let url = url::Url::parse(&format!("{service}://host")).ok();
        assert!(
            service.len() <= 64 && !service.contains(['/', '\0', ' ']),
            "{url:?}"
        );
    }
    // The address does not change the result.
    let _ = request.client();
}

/// An answer of saslauthd is complete at its end and not before.
fn check_answer(answer: &[u8]) {
    if is_complete(answer) == Ok(true) {
        assert!(answer[2..].starts_with(b"OK") || answer[2..].starts_with(b"NO"));
        for end in 0..answer.len() {
            assert_eq!(is_complete(&answer[..end]), Ok(false));
        }
        assert!(is_complete(&[answer, b"x"].concat()).is_err());
    }
}

/// Names are as short and as printable as hosts require.
fn check_names<Credential>(message: &Message<Credential>) {
    for name in [&message.authzid, &message.authcid].into_iter().flatten() {
        assert!((1..=255).contains(&name.len()), "{name:?}");
        assert!(
            !name.chars().any(crate::platform::log::is_hidden),
            "{name:?}"
        );
    }
}

/// The token is one that the client has sent, and is recognized as a credential.
fn check_token(message: &Message<Token>, data: &[u8]) {
    let token = message.credential.expose();
    assert!(token.len() <= Token::MAX_BYTES);
    let text = std::str::from_utf8(data).expect("text");
    assert!(text.contains(token));
    // A name is shown, even if a client puts its token there.
    let names = [&message.authcid, &message.authzid].map(|name| name.clone().unwrap_or_default());
    let in_names: usize = names.iter().map(|name| name.matches(token).count()).sum();
    assert!(format!("{message:?}").matches(token).count() <= in_names);
}

fn check_challenges(text: &str) {
    let hint = Hint {
        scope: Some(text.to_owned()),
        openid_configuration: Some(text.to_owned()),
    };
    for kind in error::FailureKind::ALL {
        check_challenge(oauthbearer::challenge(kind, &hint));
        check_challenge(xoauth2::challenge(kind, &hint));
    }
}

/// A challenge is JSON on one line.
fn check_challenge(challenge: Option<String>) {
    if let Some(challenge) = challenge {
        let value: serde_json::Value = serde_json::from_str(&challenge).expect("JSON");
        assert!(value.is_object() && !challenge.contains(['\n', '\r', '\0']));
    }
}

fn shown(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
