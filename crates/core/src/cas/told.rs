//! What is told to who looks on while a ticket is judged. Nothing here decides.

#![forbid(unsafe_code)]

use std::time::Duration;

use url::Url;

use super::response::Success;
use crate::net::http_client::{Error, Response};
use crate::platform::log::{listed, quoted};
use crate::trace::Told;

/// A request, of which the ticket is masked, and what came back.
pub(crate) fn request(url: &Url, answer: Result<&Response, &Error>, took: Duration) -> Told {
    let answer = match answer {
        Ok(Response { status, body, .. }) => {
            format!("HTTP status {status}, {} bytes", body.len())
        }
        Err(error) => error.failure.to_string(),
    };
    Told::found(format!("{answer}, after {} ms", took.as_millis())).wanted(format!("GET {url}…"))
}

/// Where all is said by the request itself.
pub(crate) fn nothing<T>(_: Option<&T>) -> Told {
    Told::default()
}

/// A reply that is a success.
pub(crate) fn reply(success: Option<&Success>) -> Told {
    let Some(success) = success else {
        return Told::default();
    };
    let attributes = success.pairs().map(|(name, value)| {
        let value = value.map_or("(no text)".into(), quoted);
        format!(" {}={value}", quoted(name))
    });
    let attributes: String = attributes.take(40).collect();
    Told::found(format!(
        "success, cas:user={}{attributes}",
        quoted(&success.user)
    ))
}

/// What names the mail user.
pub(crate) fn user(success: &Success, attribute: Option<&str>) -> Told {
    match attribute {
        None => Told::found(format!("cas:user={}", quoted(&success.user))),
        Some(name) => {
            let values = listed(&success.values(name).collect::<Vec<_>>());
            Told::found(format!("{name}={values}"))
                .wanted(format!("one caspt_user_attribute {name}"))
        }
    }
}
