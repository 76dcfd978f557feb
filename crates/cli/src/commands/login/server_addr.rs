//! The address and the protocol of the mail server.

#![forbid(unsafe_code)]

use std::str::FromStr;

/// A protocol for mail clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// IMAP, RFC 3501.
    Imap,
    /// POP3, RFC 1939.
    Pop3,
    /// ManageSieve, RFC 5804.
    Sieve,
}

impl Protocol {
    /// The default port.
    fn default_port(self, is_tls: bool) -> u16 {
        match (self, is_tls) {
            (Self::Imap, false) => 143,
            (Self::Imap, true) => 993,
            (Self::Pop3, false) => 110,
            (Self::Pop3, true) => 995,
            (Self::Sieve, _) => 4190,
        }
    }
}

/// When TLS starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// With the connection (implicit TLS).
    Tls,
    /// With the STARTTLS or STLS command.
    StartTls,
    /// Never: the connection is in clear text.
    None,
}

/// The address of a server: `HOST` or `HOST:PORT`, where HOST may be an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddr {
    /// A host name or an IP address.
    pub(crate) host: String,
    port: Option<u16>,
}

impl ServerAddr {
    /// The port, or the default port of the protocol.
    pub(crate) fn port(&self, protocol: Protocol, security: Security) -> u16 {
        let default = || protocol.default_port(security == Security::Tls);
        self.port.unwrap_or_else(default)
    }

    /// The default for when TLS starts: with the connection on the ports of implicit TLS.
    pub(crate) fn default_security(&self) -> Security {
        match self.port {
            Some(993 | 995) => Security::Tls,
            _ => Security::StartTls,
        }
    }
}

impl FromStr for ServerAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("lacks a ]")?;
                (host, rest.strip_prefix(':').or(non_empty(rest)))
            }
            // Text with more than one colon is an IPv6 address without brackets.
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err("names no host; it is HOST or HOST:PORT".to_owned());
        }
        let port = match port.map(u16::from_str) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err("has no port behind the colon".to_owned()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<u16>)> {
        let address: ServerAddr = text.parse().ok()?;
        Some((address.host, address.port))
    }

    #[test]
    fn host_names_and_ip_addresses_are_parsed_with_and_without_port() {
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("mail.univ.fr"), is("mail.univ.fr", None));
        assert_eq!(parsed("mail.univ.fr:1143"), is("mail.univ.fr", Some(1143)));
        assert_eq!(parsed("192.0.2.1:143"), is("192.0.2.1", Some(143)));
        assert_eq!(parsed("::1"), is("::1", None));
        assert_eq!(parsed("[::1]"), is("::1", None));
        assert_eq!(parsed("[::1]:143"), is("::1", Some(143)));
        for wrong in [
            "",
            ":143",
            "mail:",
            "mail:0",
            "mail:70000",
            "imap://mail",
            "[::1",
            "[::1]143x",
            "a b",
            "mail\n",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn implicit_tls_is_the_default_on_its_registered_ports() {
        let address: ServerAddr = "mail.univ.fr:993".parse().unwrap();
        assert_eq!(address.default_security(), Security::Tls);
        let address: ServerAddr = "mail.univ.fr".parse().unwrap();
        assert_eq!(address.default_security(), Security::StartTls);
        let port = |security| address.port(Protocol::Imap, security);
        assert_eq!((port(Security::StartTls), port(Security::Tls)), (143, 993));
    }
}
