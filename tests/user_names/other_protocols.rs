//! Tests of user names in POP3, ManageSieve and SMTP.

use super::mail_env::MailEnv;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use test_support::authority::Authority;
use test_support::base64;
use test_support::cyrus::Service;
use test_support::daemon::{self, Daemon};
use test_support::examples;
use test_support::libsasl2;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::mint::{SigningKey, now};
use test_support::postfix::{self, Postfix};
use test_support::postfix_conf;
use test_support::scratch::Scratch;
use test_support::smtp::{Sender, SmtpClient, SmtpClients};
use test_support::wait::PATIENCE;

/// Principals, and the owner of the mailbox that each opens, if any.
const PRINCIPALS: [(&str, Option<&str>); 16] = [
    ("alice", Some("alice")),
    ("ALICE", Some("alice")),
    ("alice@univ.fr", Some("alice")),
    ("bob@other.fr", Some("bob@other.fr")),
    ("alice%univ.fr", None),
    ("bob%other.fr", None),
    ("bob@other.fr@univ.fr", None),
    ("bob%other.fr@guests.fr", None),
    ("cyrus", None),
    ("cyrus%univ.fr", None),
    ("cyrus@univ.fr", None),
    ("anyone", None),
    ("anonymous", None),
    ("group:mail", None),
    ("-alice", None),
    ("other.fr!user.bob", None),
];

/// The environment of these tests, in which alice and bob@other.fr have mail.
fn site(name: &str) -> MailEnv {
    let lines = [
        ("virtdomains", "userid"),
        ("defaultdomain", "univ.fr"),
        ("admins", "cyrus"),
        ("popsubfolders", "yes"),
        ("imapmagicplus", "yes"),
    ];
    let services = [Service::Imap, Service::Pop3, Service::Sieve];
    let site = MailEnv::with(name, &lines, &services, "localhost");
    site.mark_inboxes(&["alice", "bob@other.fr"]);
    site
}

/// A connection of a line-based protocol.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// Sends a line, and reads up to a line that begins with one of `ends`.
    fn command(&mut self, line: &str, ends: &[&str]) -> Vec<String> {
        let stream = self.0.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("sending");
        self.until(ends)
    }

    fn until(&mut self, ends: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let length = self.0.read_line(&mut line).expect("a line");
            assert!(length > 0, "the server closed the connection: {lines:?}");
            let line = line.trim_end().to_owned();
            let is_end = ends.iter().any(|end| line.starts_with(end));
            lines.push(line);
            if is_end {
                return lines;
            }
        }
    }
}

const POP3: [&str; 3] = ["+OK", "-ERR", "+ "];
const SIEVE: [&str; 3] = ["OK", "NO", "BYE"];

/// The owner of the mailbox that opens by AUTH, or by USER and PASS with a name.
fn pop3(site: &MailEnv, principal: &str, name: Option<&str>) -> Option<String> {
    let mut pop3 = Lines::connect(site.cyrus.pop3_port());
    pop3.until(&POP3);
    let token = site.token(principal);
    let reply = match name {
        None => {
            let message = base64::encode(&oauthbearer(&token));
            let reply = pop3.command(&format!("AUTH OAUTHBEARER {message}"), &POP3);
            // A refusal begins with a challenge.
            match reply[0].starts_with("+ ") {
                true => pop3.command("AQ==", &POP3),
                false => reply,
            }
        }
        Some(name) => {
            pop3.command(&format!("USER {name}"), &POP3);
            pop3.command(&format!("PASS {token}"), &POP3)
        }
    };
    if !reply[0].starts_with("+OK") {
        return None;
    }
    let mail = pop3.command("RETR 1", &[".", "-ERR"]);
    let owner = mail
        .iter()
        .find_map(|line| line.strip_prefix("Subject: owner "));
    pop3.command("QUIT", &POP3);
    Some(owner.expect("a message").to_owned())
}

#[test]
fn pop3_opens_only_the_mailbox_of_the_name() {
    let site = site("names-pop3");
    for (principal, owner) in PRINCIPALS {
        assert_eq!(
            pop3(&site, principal, None).as_deref(),
            owner,
            "{principal}"
        );
        let by_password = pop3(&site, principal, Some(principal));
        assert_eq!(by_password.as_deref(), owner, "{principal}");
        // The name of another user with an own token.
        let victim = if owner == Some("alice") {
            "bob@other.fr"
        } else {
            "alice"
        };
        assert_eq!(
            pop3(&site, principal, Some(victim)),
            None,
            "{principal} as {victim}"
        );
    }
    // With popsubfolders pop3d removes what follows a +: alice+x is another user.
    assert_eq!(pop3(&site, "alice+x", None), None);
    for name in ["alice", "alice+x"] {
        assert_eq!(pop3(&site, "alice+x", Some(name)), None, "{name}");
    }
    site.assert_no_process_aborted(0);
}

/// The names of the scripts that a user sees, after uploading one that names `owner`.
fn sieve(site: &MailEnv, (mechanism, message): (&str, &[u8]), owner: &str) -> Option<Vec<String>> {
    let mut sieve = Lines::connect(site.cyrus.sieve_port());
    sieve.until(&SIEVE);
    let message = base64::encode(message);
    let command = format!(
        "AUTHENTICATE \"{mechanism}\" {{{}+}}\r\n{message}",
        message.len()
    );
    // A refusal begins with a challenge.
    let reply = sieve.command(&command, &["OK", "NO", "BYE", "{", "\""]);
    if reply[0].starts_with(['{', '"']) {
        sieve.command("\"AQ==\"", &SIEVE);
        return None;
    }
    if !reply[0].starts_with("OK") {
        return None;
    }
    let script = format!("PUTSCRIPT \"{owner}\" {{5+}}\r\nkeep;");
    let reply = sieve.command(&script, &SIEVE);
    assert!(
        reply.last().is_some_and(|line| line.starts_with("OK")),
        "{reply:?}"
    );
    let reply = sieve.command("LISTSCRIPTS", &SIEVE);
    sieve.command("LOGOUT", &SIEVE);
    let names = reply
        .iter()
        .filter_map(|line| line.strip_prefix('"')?.split('"').next());
    Some(names.map(str::to_owned).collect())
}

#[test]
fn managesieve_shows_only_the_scripts_of_the_name() {
    let site = site("names-sieve");
    for (principal, owner) in PRINCIPALS {
        let owners = owner.map(|owner| vec![owner.to_owned()]);
        let name = owner.unwrap_or("nobody");
        let token = site.token(principal);
        let by_token = sieve(&site, ("OAUTHBEARER", &oauthbearer(&token)), name);
        assert_eq!(by_token, owners, "{principal}");
        let victim = if owner == Some("alice") {
            "bob@other.fr"
        } else {
            "alice"
        };
        for (authcid, owners) in [(principal, owners), (victim, None)] {
            let message = format!("\0{authcid}\0{token}");
            let by_plain = sieve(&site, ("PLAIN", message.as_bytes()), name);
            assert_eq!(by_plain, owners, "{principal} as {authcid}");
        }
    }
    site.assert_no_process_aborted(0);
}

/// Whether smtpd of univ.fr accepts a token of alice with the name `user`.
struct Smtp {
    postfix: Postfix,
    clients: SmtpClients,
    key: SigningKey,
    _daemon: Daemon,
    _scratches: [Scratch; 2],
}

impl Smtp {
    fn new(lines: &[(&str, &str)]) -> Self {
        let (scratch, run) = (Scratch::new("names-smtp"), Scratch::new("run"));
        let authority = Authority::new();
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let keys = scratch.write("key.pem", key.pem()).display().to_string();
        run.give_to(run.path(), &postfix_conf::mail_owner());
        let mux = run.join("mux");
        let mut smtpd_conf = vec![
            ("jwt_keys", &*keys),
            ("jwt_issuer", "*"),
            ("jwt_audience", "*"),
        ];
        smtpd_conf.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let mut smtpd = examples::master_cf_options("smtpd.conf");
        smtpd.push(own(("smtpd_sasl_local_domain", "univ.fr")));
        let options = postfix::Options {
            plugin: Some(libsasl2::plugin()),
            smtpd_conf: smtpd_conf.into_iter().map(own).collect(),
            smtpd,
            saslauthd: Some(mux.clone()),
            ..postfix::Options::default()
        };
        let postfix = Postfix::start(&scratch, &authority, &options);
        let mut command = daemon::command(&scratch, &postfix.smtpd_conf(), postfix.log());
        command.args(["--user", &postfix_conf::mail_owner()]);
        Self {
            _daemon: Daemon::start_with(&scratch, &mux, command),
            clients: SmtpClients::new(&scratch, &authority),
            postfix,
            key,
            _scratches: [scratch, run],
        }
    }

    /// The user that smtpd logs, if it accepts the token. PLAIN goes through the daemon.
    fn sends(&self, mechanism: &str, principal: &str, user: &str) -> Option<String> {
        let claims = json!({"sub": principal, "iat": now(), "exp": now() + 600}).to_string();
        let token = self.key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims);
        let sender = Sender {
            port: self.postfix.port(),
            mechanism,
            user,
            secret: &token,
        };
        let mark = self.postfix.log().mark();
        if !self.clients.send(SmtpClient::Smtplib, &sender).logged_in {
            return None;
        }
        let log = self.postfix.log();
        let is_login = |line: &test_support::syslog::Line| line.text.contains("sasl_username=");
        let line = log.wait_for_since(mark, is_login, PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no login is logged\n{}", log.tail()));
        let user = line.text.split_once("sasl_username=")?.1;
        Some(user.split([',', ' ']).next()?.to_owned())
    }
}

#[test]
fn local_domain_of_postfix_needs_sso_host_names_domain() {
    let smtp = Smtp::new(&[]);
    for mechanism in ["XOAUTH2", "PLAIN"] {
        assert_eq!(smtp.sends(mechanism, "alice", "alice"), None, "{mechanism}");
        let whole = smtp.sends(mechanism, "alice@univ.fr", "alice@univ.fr");
        assert_eq!(whole.as_deref(), Some("alice@univ.fr"), "{mechanism}");
    }
    let smtp = Smtp::new(&[("sso_host_names", "domain")]);
    let added = smtp.sends("XOAUTH2", "alice", "alice");
    assert_eq!(added.as_deref(), Some("alice@univ.fr"));
    for mechanism in ["XOAUTH2", "PLAIN"] {
        let typed = smtp.sends(mechanism, "alice", "alice@other.fr");
        assert_eq!(typed, None, "{mechanism}");
    }
    // The daemon cannot distinguish an added domain from one that was sent.
    assert_eq!(smtp.sends("PLAIN", "alice", "alice"), None);
    let smtp = Smtp::new(&[("sso_realm", "univ.fr")]);
    for mechanism in ["XOAUTH2", "PLAIN"] {
        let added = smtp.sends(mechanism, "alice", "alice");
        assert_eq!(added.as_deref(), Some("alice@univ.fr"), "{mechanism}");
    }
}
