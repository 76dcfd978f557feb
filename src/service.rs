//! The service that a ticket must have been issued for.

#![forbid(unsafe_code)]

/// `caspt_service`: a name with places for the service and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(String);

impl Default for ServiceName {
    fn default() -> Self {
        Self("{service}://{host}".to_owned())
    }
}

impl ServiceName {
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.replace("{service}", "").replace("{host}", "");
        if rest.contains(['{', '}']) {
            return Err("has a { } that is neither {service} nor {host}".to_owned());
        }
        if text.contains(char::is_whitespace) {
            return Err("has white space; a ticket is issued for one service".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The name for a connection to `service` (`imap`, `pop`, `sieve`) of
    /// `host`, as the host application calls both.
    pub fn name(&self, service: &str, host: &str) -> String {
        self.0.replace("{service}", service).replace("{host}", host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let name = ServiceName::parse("{service}://mail.univ.fr").unwrap();
        assert_eq!(name.name("pop", "ignored"), "pop://mail.univ.fr");
        assert_eq!(ServiceName::default().name("imap", "m"), "imap://m");
    }

    #[test]
    fn what_no_service_can_be_is_refused() {
        for text in ["{user}://x", "imap://{host", "imap://a imap://b"] {
            assert!(ServiceName::parse(text).is_err(), "{text}");
        }
    }
}
