//! The name of the service that a ticket must be issued for.

#![forbid(unsafe_code)]

/// `caspt_service`: a name with placeholders for the service and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Service,
    Host,
}

impl Default for ServiceName {
    /// Returns `{service}://{host}`.
    fn default() -> Self {
        Self(vec![
            Part::Service,
            Part::Text("://".to_owned()),
            Part::Host,
        ])
    }
}

impl ServiceName {
    /// Parses the option.
    ///
    /// # Errors
    /// A sentence that names the problem.
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

    /// The name for a connection to `service` (`imap`, `pop`, `sieve`) of `host`; both are the host
    /// application's names.
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
    fn placeholders_are_replaced() {
        let name = ServiceName::parse("{service}://mail.univ.fr").unwrap();
        assert_eq!(name.name("pop", "ignored"), "pop://mail.univ.fr");
        assert_eq!(ServiceName::default().name("imap", "m"), "imap://m");
    }

    #[test]
    fn text_that_is_no_service_name_is_rejected() {
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
