//! Servers configured as the documentation says. They replace the servers that it names.

use super::Block;
use crate::authority::Authority;
use crate::cas::CasServer;
use crate::cyrus::{Cyrus, Options};
use crate::imap::Imap;
use crate::imap_reply::Reply;
use crate::libsasl2;
use crate::libsasl2::token_site::oauthbearer;
use crate::oidc::{AUDIENCE, OidcProvider};
use crate::portal::Portal;
use crate::scratch::Scratch;
use std::path::PathBuf;

/// The service that webmails obtain tickets for.
const SERVICE: &str = "imap://localhost";

/// The running servers. They are stopped in the order of the fields.
pub struct DocsEnv {
    pub cyrus: Cyrus,
    pub provider: OidcProvider,
    pub portal: Portal,
    pub cas: CasServer,
    pub scratch: Scratch,
}

impl DocsEnv {
    /// Starts a Cyrus with the lines of these blocks. Their mechanism lists are merged.
    pub fn new(name: &str, blocks: &[&Block]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let portal = Portal::start(&authority, &cas, "webmail");
        let provider = OidcProvider::start(&scratch, &authority);
        let ca = authority.write_ca(&scratch).display().to_string();
        let mut lines: Vec<(String, String)> = Vec::new();
        for (key, value) in blocks.iter().flat_map(|block| block.settings()) {
            let value = value
                .replace("https://cas.univ.example/cas", &cas.url())
                .replace("https://webmail.univ.example/", &portal.service())
                .replace("https://sso.univ.example/realms/univ", &provider.issuer())
                .replace("imap.univ.example", AUDIENCE);
            match lines.iter_mut().find(|(known, _)| *known == key) {
                Some((_, mechanisms)) if key == "sasl_mech_list" => {
                    *mechanisms = format!("{mechanisms} {value}");
                }
                Some(_) => panic!("{key} occurs twice"),
                None => lines.push((key, value)),
            }
        }
        for (option, condition) in [
            ("sasl_caspt_ca_file", "sasl_caspt_url"),
            ("sasl_jwt_ca_file", "sasl_jwt_keys"),
        ] {
            if lines.iter().any(|(key, _)| key == condition) {
                lines.push((option.to_owned(), ca.clone()));
            }
        }
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines,
            ..Options::default()
        };
        Self {
            cyrus: Cyrus::start(&scratch, &authority, options),
            provider,
            portal,
            cas,
            scratch,
        }
    }

    /// Obtains a ticket as a webmail does.
    pub fn ticket(&self, user: &str) -> String {
        self.portal.proxy_ticket(user, SERVICE)
    }

    /// Logs in by CASPT.
    pub fn by_ticket(&self, ticket: &str) -> Reply {
        let message = format!("\0\0{ticket}");
        self.connect()
            .authenticate("CASPT", message.as_bytes(), &[b"\x01"])
    }

    /// Logs in by OAUTHBEARER.
    pub fn by_token(&self, token: &str) -> Reply {
        self.connect()
            .authenticate("OAUTHBEARER", &oauthbearer(token), &[b"\x01"])
    }

    /// Logs in by XOAUTH2.
    pub fn by_xoauth2(&self, user: &str, token: &str) -> Reply {
        let message = format!("user={user}\x01auth=Bearer {token}\x01\x01");
        self.connect()
            .authenticate("XOAUTH2", message.as_bytes(), &[b"\x01"])
    }

    fn connect(&self) -> Imap {
        Imap::connect(self.cyrus.imap_port())
    }

    /// Returns the directory that stands for `/` in installations.
    pub fn root(&self) -> PathBuf {
        self.scratch.create_dir("root")
    }

    /// Runs the program, with the test's servers and files in place of those named in `words`, and
    /// returns its output.
    pub fn sasl_sso(&self, place: &str, words: &[&str]) -> String {
        let mut command = self.scratch.command(program());
        for word in words {
            match *word {
                "/etc/postfix/sasl/smtpd.conf" => command.arg(self.scratch.join("smtpd.conf")),
                "mail.univ.example" => command.arg(format!("localhost:{}", self.cyrus.imap_port())),
                "ticket" => command.arg(self.file("ticket", &self.ticket("alice"))),
                "token" => {
                    let token = self.provider.access_token("alice", "RS256");
                    command.arg(self.file("token", &token))
                }
                _ => command.arg(word),
            };
        }
        let conf = self.cyrus.imapd_conf();
        if words[0] == "login" {
            command.arg("--ca-file").arg(self.scratch.join("ca.pem"));
        } else if !words.contains(&"--config") && words[0] != "completions" {
            command.arg("--config").arg(&conf);
        }
        if words[0] == "check" {
            command.arg("--plugin-dir").arg(self.cyrus.plugin_dir());
        }
        let (success, printed) = self.scratch.attempt("sasl-sso", command, "");
        assert!(success, "{place}: sasl-sso {}\n{printed}", words.join(" "));
        printed.replace(&conf.display().to_string(), "/etc/imapd.conf")
    }

    /// Writes a credential to a private file.
    fn file(&self, name: &str, credential: &str) -> PathBuf {
        self.scratch.write_private(name, format!("{credential}\n"))
    }
}

/// Returns the path of the release build of the program.
pub fn program() -> PathBuf {
    libsasl2::plugin().with_file_name("sasl-sso")
}
