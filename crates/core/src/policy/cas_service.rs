//! The service that a ticket must have been issued for.

#![forbid(unsafe_code)]

/// `caspt_service`: a name with places for the service and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Service,
    Host,
}

impl Default for ServiceName {
    /// `{service}://{host}`
    fn default() -> Self {
        Self(vec![
            Part::Service,
            Part::Text("://".to_owned()),
            Part::Host,
        ])
    }
}

impl ServiceName {
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(char::is_whitespace) {
            return Err("has white space; a ticket is issued for one service".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, length) = if rest.starts_with("{service}") {
                (Part::Service, "{service}".len())
            } else if rest.starts_with("{host}") {
                (Part::Host, "{host}".len())
            } else {
                let length = rest.find('{').unwrap_or(rest.len());
                (Part::Text(rest[..length].to_owned()), length)
            };
            let is_stray =
                matches!(&part, Part::Text(text) if text.is_empty() || text.contains('}'));
            if is_stray {
                return Err("has a { } that is neither {service} nor {host}".to_owned());
            }
            parts.push(part);
            rest = &rest[length..];
        }
        Ok(Self(parts))
    }

    /// The name for a connection to `service` (`imap`, `pop`, `sieve`) of
    /// `host`, as the host application calls both.
    pub fn name(&self, service: &str, host: &str) -> String {
        let mut name = String::with_capacity(64);
        for part in &self.0 {
            name.push_str(match part {
                Part::Text(text) => text,
                Part::Service => service,
                Part::Host => host,
            });
        }
        name
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
        for text in [
            "{user}://x",
            "imap://{host",
            "imap://host}",
            "imap://a imap://b",
        ] {
            assert!(ServiceName::parse(text).is_err(), "{text}");
        }
    }
}
