//! Reads the services and their configuration files from cyrus.conf(5).

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// A service that clients log in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// The prefix of its own options in imapd.conf.
    pub(crate) name: String,
    /// Its SASL service name, such as `imap` or `pop`.
    pub(crate) sasl_service: &'static str,
    /// Its own configuration file (`-C`), if it has one.
    pub(crate) config: Option<PathBuf>,
    /// Whether it uses implicit TLS (`-s`).
    pub(crate) is_tls: bool,
}

/// The relevant contents of the file.
#[derive(Debug, Default)]
pub(crate) struct CyrusConf {
    /// The services that clients log in to.
    pub(crate) services: Vec<Service>,
    /// The names of all entries, also of other programs that master starts.
    names: Vec<String>,
}

impl CyrusConf {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut section = String::new();
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_suffix('{') {
                section = name.trim().to_ascii_uppercase();
            } else if line.starts_with('}') {
                section.clear();
            } else if let Some((name, rest)) = line.split_once(char::is_whitespace) {
                conf.entry(&section, &name.to_ascii_lowercase(), rest);
            }
        }
        conf
    }

    fn entry(&mut self, section: &str, name: &str, rest: &str) {
        self.names.push(name.to_owned());
        let command = rest.split_once("cmd=").map(|(_, rest)| rest.trim_start());
        let command = command.and_then(|rest| match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split_whitespace().next(),
        });
        let mut words = command.unwrap_or_default().split_whitespace();
        let program = words.next().and_then(|word| word.rsplit('/').next());
        let Some(sasl_service) = program
            .and_then(sasl_service)
            .filter(|_| section == "SERVICES")
        else {
            return;
        };
        let (mut config, mut is_tls) = (None, false);
        while let Some(word) = words.next() {
            is_tls |= word == "-s";
            if let Some(rest) = word.strip_prefix("-C") {
                let path = match rest {
                    "" => words.next(),
                    rest => Some(rest),
                };
                config = path.map(PathBuf::from);
            }
        }
        self.services.push(Service {
            name: name.to_owned(),
            sasl_service,
            config,
            is_tls,
        });
    }

    /// Whether the file has an entry of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The names of all entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// The SASL service name of a Cyrus program.
fn sasl_service(program: &str) -> Option<&'static str> {
    Some(match program {
        "imapd" | "proxyd" => "imap",
        "pop3d" | "pop3proxyd" => "pop",
        "timsieved" => "sieve",
        "httpd" => "http",
        "nntpd" => "nntp",
        "lmtpd" | "lmtpproxyd" => "lmtp",
        "mupdate" => "mupdate",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_their_files_are_found() {
        let conf = CyrusConf::parse(
            "START {\n  recover cmd=\"ctl_cyrusdb -r\"\n}\n# a comment\nSERVICES {\n\
             \timap\tcmd=\"imapd -U 30\" listen=\"imap\" prefork=0\n\
             \t#imaps\tcmd=\"imapd -s\" listen=\"imaps\"\n\
             \tWebMail cmd=\"/usr/lib/cyrus/bin/imapd -s -C /etc/webmail.conf\" listen=\"993\"\n\
             \tpop3 listen=\"pop3\" cmd=\"pop3d -C/etc/pop3.conf -U 2\"\n\
             \tnotify cmd=\"notifyd\"\n}\n",
        );
        let found: Vec<_> = conf
            .services
            .iter()
            .map(|one| {
                (
                    &*one.name,
                    one.sasl_service,
                    one.config.as_deref(),
                    one.is_tls,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("imap", "imap", None, false),
                (
                    "webmail",
                    "imap",
                    Some(Path::new("/etc/webmail.conf")),
                    true
                ),
                ("pop3", "pop", Some(Path::new("/etc/pop3.conf")), false),
            ]
        );
        assert!(conf.has("notify") && conf.has("recover") && !conf.has("imaps"));
    }
}
