//! Postfix' smtpd, configured by the example: who holds a token, or knows a password, sends mail.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use nix::unistd::User;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use test_support::authority::Authority;
use test_support::bearer_login::Outcome;
use test_support::cyrus::{self, Cyrus};
use test_support::daemon::{self, Daemon};
use test_support::examples;
use test_support::faulty_cas::FaultyCas;
use test_support::imap::Imap;
use test_support::key_server::{Behaviour, KeyServer};
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::token_site::{named, oauthbearer};
use test_support::mint::{SigningKey, now};
use test_support::password_server::PasswordServer;
use test_support::postfix::{self, Postfix};
use test_support::postfix_conf;
use test_support::process;
use test_support::scratch::Scratch;
use test_support::smtp::{Sender, SmtpClient, SmtpClients};
use test_support::syslog::{Line, level};
use test_support::wait::PATIENCE;

/// The issuer of the example.
const KEYCLOAK: &str = "https://sso.univ.example/realms/univ";

/// What tickets are for, in imapd and in smtpd.
const SERVICE: &str = "imap://mail.univ.example";

/// Alice's, who has a token as well.
const PASSWORD: &str = "an-ordinary-one";

/// Each by which a token comes. curl takes OAUTHBEARER where it is offered.
const LOGINS: [(SmtpClient, &str); 5] = [
    (SmtpClient::Curl, "OAUTHBEARER"),
    (SmtpClient::Smtplib, "OAUTHBEARER"),
    (SmtpClient::Smtplib, "XOAUTH2"),
    (SmtpClient::SmtplibLater, "OAUTHBEARER"),
    (SmtpClient::SmtplibLater, "XOAUTH2"),
];

/// A Postfix as the example has it, and the issuer of its tokens.
struct Site {
    issuer: KeyServer,
    key: SigningKey,
    postfix: Postfix,
    clients: SmtpClients,
    authority: Authority,
    scratch: Scratch,
}

impl Site {
    /// With nobody who knows passwords.
    fn new(name: &str) -> Self {
        Self::with(name, None, &[])
    }

    /// With the socket of who knows passwords, and with more lines for smtpd.conf.
    fn with(name: &str, saslauthd: Option<PathBuf>, lines: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let issuer = KeyServer::start(&authority);
        let key = SigningKey::p256();
        issuer.set_keys(&[named(&key, "k1")]);
        let mut smtpd_conf = example(&issuer);
        let ca = authority.write_ca(&scratch).display().to_string();
        smtpd_conf.push(("jwt_ca_file".to_owned(), ca));
        let lines = lines.iter();
        smtpd_conf.extend(lines.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let options = postfix::Options {
            plugin: Some(test_support::libsasl2::plugin()),
            smtpd_conf,
            smtpd: examples::master_cf_options("smtpd.conf"),
            // The host's own would be asked otherwise.
            saslauthd: saslauthd.or_else(|| Some(scratch.join("no-daemon"))),
            ..postfix::Options::default()
        };
        Self {
            postfix: Postfix::start(&scratch, &authority, &options),
            clients: SmtpClients::new(&scratch, &authority),
            issuer,
            key,
            authority,
            scratch,
        }
    }

    /// A good token of alice's, but for these claims.
    fn token(&self, changes: Value) -> String {
        signed(&self.key, &self.issuer, changes)
    }

    fn send(&self, client: SmtpClient, mechanism: &str, secret: &str) -> Outcome {
        let sender = Sender {
            port: self.postfix.port(),
            mechanism,
            user: "alice",
            secret,
        };
        self.clients.send(client, &sender)
    }

    /// A line of the log since `mark` that has all these words in it.
    #[track_caller]
    fn logged(&self, mark: usize, words: &[&str]) -> Line {
        let wanted = |line: &Line| words.iter().all(|word| line.text.contains(word));
        let log = self.postfix.log();
        let line = log.wait_for_since(mark, wanted, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }
}

/// The example, with the names of the test's site. Where state and socket are is the harness' to say.
fn example(issuer: &KeyServer) -> Vec<(String, String)> {
    let ours = ["saslauthd_path", "sso_state_dir"];
    examples::lines("smtpd.conf")
        .into_iter()
        .filter(|(key, _)| !ours.contains(&key.as_str()))
        .map(|(key, value)| (key, value.replace(KEYCLOAK, &issuer.issuer())))
        .collect()
}

/// The same options for imapd.
fn imapd_conf(site: &Site) -> Vec<(String, String)> {
    let ca = site.authority.write_ca(&site.scratch).display().to_string();
    let mut lines = example(&site.issuer);
    lines.push(("jwt_ca_file".to_owned(), ca));
    lines.retain(|(key, _)| key.starts_with("jwt_"));
    let of_imapd = |(key, value)| (format!("sasl_{key}"), value);
    lines.into_iter().map(of_imapd).collect()
}

fn signed(key: &SigningKey, issuer: &KeyServer, changes: Value) -> String {
    let mut claims = json!({
        "iss": issuer.issuer(), "aud": "imap.univ.example", "sub": "7a0c1b9a",
        "preferred_username": "alice", "scope": "imap", "iat": now(), "exp": now() + 600,
    });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    key.token(
        r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#,
        &claims.to_string(),
    )
}

#[test]
fn who_has_a_good_token_sends_mail_and_nobody_else_does() {
    let site = Site::new("smtp");
    for (id, (client, mechanism)) in LOGINS.into_iter().enumerate() {
        let mark = site.postfix.log().mark();
        let outcome = site.send(client, mechanism, &site.token(json!({"jti": id})));
        let told = || {
            let log = site.postfix.log().tail();
            format!("{client:?} {mechanism}\n{}\n{log}", outcome.transcript)
        };
        assert!(outcome.logged_in, "{}", told());
        let method = format!("sasl_method={mechanism}");
        site.logged(mark, &[&method, "sasl_username=alice"]);
        // By whoever delivers it, in its turn.
        site.logged(mark, &["to=<bert@localhost>", "status=sent"]);
    }
    // smtpd has made it, and not as root.
    let state = site.postfix.state_dir();
    let metadata = std::fs::metadata(&state).expect("the directory of the sessions");
    assert_eq!(metadata.mode() & 0o777, 0o700);
    let owner = User::from_name(&postfix_conf::mail_owner()).expect("accounts");
    assert_eq!(Some(metadata.uid()), owner.map(|user| user.uid.as_raw()));

    let outcome = site.send(SmtpClient::Smtplib, "none", "");
    assert!(!outcome.logged_in, "{}", outcome.transcript);
    let refusal = "554 5.7.1 <bert@localhost>: Recipient address rejected";
    site.logged(0, &["reject: RCPT", refusal]);
}

#[test]
fn nothing_is_offered_before_tls() {
    let site = Site::new("smtp-tls");
    let mut stream = TcpStream::connect(("127.0.0.1", site.postfix.port())).expect("smtpd");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"EHLO client.example\r\nAUTH XOAUTH2\r\nQUIT\r\n")
        .expect("sending");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("replies");
    assert!(said.contains("STARTTLS"), "{said}");
    assert!(!said.contains("AUTH "), "{said}");
    assert!(said.contains("\n530 5.7.0 Must issue a STARTTLS"), "{said}");
}

#[test]
fn a_bad_token_is_refused_for_good_and_the_client_learns_why() {
    let site = Site::new("smtp-bad");
    let forger = SigningKey::p256();
    let forged = signed(&forger, &site.issuer, json!({}));
    let bad = [
        (site.token(json!({"exp": now() - 600})), "token_expired"),
        (site.token(json!({"aud": "other"})), "audience_not_allowed"),
        (forged, "signature_wrong"),
    ];
    for (client, mechanism) in LOGINS {
        for (token, reason) in &bad {
            let mark = site.postfix.log().mark();
            let outcome = site.send(client, mechanism, token);
            let transcript = &outcome.transcript;
            assert!(!outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
            assert!(transcript.contains("535 5.7.8"), "{transcript}");
            let challenge = outcome.challenge().expect(transcript);
            let status = match mechanism {
                "XOAUTH2" => "401",
                _ => "invalid_token",
            };
            assert!(challenge.contains(status), "{challenge}");
            // Postfix writes it for everybody only because it is a warning.
            let line = site.logged(mark, &["outcome=refused", &format!("reason={reason} ")]);
            assert_eq!(line.level, level::WARNING, "{line:?}");
        }
    }
}

#[test]
fn an_issuer_that_does_not_answer_refuses_nobody() {
    let site = Site::new("smtp-outage");
    let known = site.token(json!({}));
    let outcome = site.send(SmtpClient::Smtplib, "XOAUTH2", &known);
    assert!(outcome.logged_in, "{}", outcome.transcript);

    site.issuer.set(Behaviour::CloseOnAccept);
    let claims = json!({"iss": site.issuer.issuer(), "aud": "imap.univ.example"});
    let header = r#"{"alg":"ES256","kid":"k2","typ":"JWT"}"#;
    let unknown = SigningKey::p256().token(header, &claims.to_string());
    for (client, mechanism) in LOGINS {
        let mark = site.postfix.log().mark();
        let outcome = site.send(client, mechanism, &unknown);
        let transcript = &outcome.transcript;
        assert!(!outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
        assert!(transcript.contains("454 4.7.0"), "{transcript}");
        // This Postfix logs for everybody.
        let line = site.logged(mark, &["outcome=unavailable", "reason=server_"]);
        assert_eq!(line.level, level::WARNING, "{line:?}");
    }
    let outcome = site.send(SmtpClient::Smtplib, "XOAUTH2", &known);
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

#[test]
fn a_token_may_be_as_long_as_imapd_takes_it() {
    let site = Site::new("smtp-long");
    // 14 kB, of which the message in base64 has 19 kB.
    let token = site.token(json!({"groups": "x".repeat(10_500)}));
    for (client, mechanism) in LOGINS {
        let outcome = site.send(client, mechanism, &token);
        let transcript = &outcome.transcript;
        assert!(outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
    }
}

#[test]
fn one_token_opens_imapd_and_smtpd_with_the_same_options() {
    let site = Site::new("smtp-imap");
    let mut imapd_conf = imapd_conf(&site);
    imapd_conf.push(("sasl_mech_list".to_owned(), "OAUTHBEARER".to_owned()));
    let options = cyrus::Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf,
        ..cyrus::Options::default()
    };
    let cyrus = Cyrus::start(&site.scratch, &site.authority, options);
    let token = site.token(json!({}));
    let mut imap = Imap::connect(cyrus.imap_port());
    let reply = imap.authenticate("OAUTHBEARER", &oauthbearer(&token), &[]);
    assert!(reply.ok, "{reply:?}\n{}", cyrus.log().tail());
    let outcome = site.send(SmtpClient::Smtplib, "OAUTHBEARER", &token);
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

/// What a client that knows nothing but passwords may have in their place: whether that is good,
/// and what the log says if the daemon has decided on it.
fn passwords(site: &Site, id: usize) -> [(String, bool, Option<&'static str>); 4] {
    [
        (
            site.token(json!({"jti": id})),
            true,
            Some("outcome=accepted"),
        ),
        (
            site.token(json!({"exp": now() - 600})),
            false,
            Some("reason=token_expired"),
        ),
        (PASSWORD.to_owned(), true, None),
        ("a-wrong-one".to_owned(), false, None),
    ]
}

/// Sends mails by PLAIN and LOGIN through the daemon.
fn passwords_go_through(daemon: Daemon, site: &Site, behind: &PasswordServer) {
    let clients = [
        (SmtpClient::Curl, "PLAIN"),
        (SmtpClient::Curl, "LOGIN"),
        (SmtpClient::Smtplib, "PLAIN"),
        (SmtpClient::SmtplibLater, "LOGIN"),
    ];
    for (id, (client, mechanism)) in clients.into_iter().enumerate() {
        for (password, is_good, decision) in passwords(site, id) {
            let mark = site.postfix.log().mark();
            let outcome = site.send(client, mechanism, &password);
            let transcript = &outcome.transcript;
            assert_eq!(
                outcome.logged_in, is_good,
                "{client:?} {mechanism}\n{transcript}"
            );
            if let Some(decision) = decision {
                site.logged(mark, &["mech=saslauthd service=smtp", decision]);
            }
            if is_good {
                let method = format!("sasl_method={mechanism}");
                site.logged(mark, &[&method, "sasl_username=alice"]);
            } else {
                assert!(transcript.contains("535 5.7.8"), "{transcript}");
            }
        }
    }
    behind.assert_asked(2 * clients.len());

    // No word about the password: the client keeps it and tries later.
    site.issuer.set(Behaviour::CloseOnAccept);
    let header = r#"{"alg":"ES256","kid":"k2","typ":"JWT"}"#;
    let claims = json!({"iss": site.issuer.issuer()}).to_string();
    let unknown = SigningKey::p256().token(header, &claims);
    let unavailable = |password: &str| {
        let outcome = site.send(SmtpClient::Smtplib, "PLAIN", password);
        let transcript = &outcome.transcript;
        assert!(transcript.contains("454 4.7.0"), "{transcript}");
    };
    unavailable(&unknown);
    site.logged(
        0,
        &["mech=saslauthd", "outcome=unavailable", "reason=server_"],
    );
    drop(daemon);
    unavailable(PASSWORD);
    site.logged(0, &["cannot connect to saslauthd server"]);
    // And a token beside them, without the daemon.
    site.issuer.set(Behaviour::Tickets);
    let outcome = site.send(SmtpClient::Curl, "OAUTHBEARER", &site.token(json!({})));
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

#[test]
fn passwords_go_to_a_daemon_with_smtpds_own_configuration() {
    let behind = PasswordServer::start(&Authority::new(), &[("alice", PASSWORD)]);
    let fallback = behind.mux().display().to_string();
    let run = Scratch::new("run");
    run.give_to(run.path(), &postfix_conf::mail_owner());
    let mux = run.join("mux");
    let lines = [("sso_fallback_socket", fallback.as_str())];
    let site = Site::with("smtp-own", Some(mux.clone()), &lines);
    // As smtpd's own user, who has the sessions.
    let mut command = daemon::command(
        &site.scratch,
        &site.postfix.smtpd_conf(),
        site.postfix.log(),
    );
    command.args(["--user", &postfix_conf::mail_owner()]);
    passwords_go_through(
        Daemon::start_with(&site.scratch, &mux, command),
        &site,
        &behind,
    );
}

#[test]
fn passwords_go_to_the_daemon_of_imapd() {
    let behind = PasswordServer::start(&Authority::new(), &[("alice", PASSWORD)]);
    let run = Scratch::new("run");
    let mux = daemon::mux(&run);
    let site = Site::with("smtp-imapd", Some(mux.clone()), &[]);
    let mut imapd_conf = imapd_conf(&site);
    // And tickets, by one name for all services.
    let cas = FaultyCas::start(&site.authority);
    let ca = site.authority.write_ca(&site.scratch).display().to_string();
    for (key, value) in [
        ("sasl_caspt_url", cas.url()),
        ("sasl_caspt_ca_file", ca),
        ("sasl_caspt_proxies", PROXY.to_owned()),
        ("sasl_caspt_service", SERVICE.to_owned()),
    ] {
        imapd_conf.push((key.to_owned(), value));
    }
    for (key, path) in [
        ("sasl_saslauthd_path", &mux),
        ("sasl_sso_fallback_socket", behind.mux()),
    ] {
        imapd_conf.push((key.to_owned(), path.display().to_string()));
    }
    let options = cyrus::Options {
        imapd_conf,
        ..cyrus::Options::default()
    };
    let cyrus = Cyrus::start(&site.scratch, &site.authority, options);
    let mut command = daemon::command(&site.scratch, &cyrus.imapd_conf(), site.postfix.log());
    // Postfix has it by the group sasl; the user in its place here is in none.
    command.args(["--mode", "0666"]);
    let daemon = Daemon::start_with(&site.scratch, &mux, command);
    cas.arm_service(SERVICE);
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    for mechanism in ["PLAIN", "LOGIN"] {
        let outcome = site.send(SmtpClient::Smtplib, mechanism, "PT-1-alice");
        assert!(outcome.logged_in, "{mechanism}\n{}", outcome.transcript);
    }
    let outcome = site.send(SmtpClient::Smtplib, "PLAIN", "PT-2-forged");
    assert!(
        outcome.transcript.contains("535 5.7.8"),
        "{}",
        outcome.transcript
    );
    assert_eq!(cas.requests().len(), 2);
    passwords_go_through(daemon, &site, &behind);
}

#[test]
fn a_token_comes_by_plain_without_a_daemon() {
    let site = Site::with("smtp-plain", None, &[("sso_plain", "yes")]);
    for (id, client) in [SmtpClient::Curl, SmtpClient::Smtplib]
        .into_iter()
        .enumerate()
    {
        let mark = site.postfix.log().mark();
        let outcome = site.send(client, "PLAIN", &site.token(json!({"jti": id})));
        let transcript = &outcome.transcript;
        assert!(outcome.logged_in, "{client:?}\n{transcript}");
        site.logged(mark, &["sasl_method=PLAIN", "sasl_username=alice"]);
        let outcome = site.send(client, "PLAIN", &site.token(json!({"exp": now() - 600})));
        let transcript = &outcome.transcript;
        assert!(transcript.contains("535 5.7.8"), "{client:?}\n{transcript}");
        let line = site.logged(mark, &["mech=PLAIN", "reason=token_expired"]);
        assert_eq!(line.level, level::WARNING, "{line:?}");
    }
}

#[test]
fn nothing_of_postfix_is_left() {
    let site = Site::new("smtp-gone");
    let outcome = site.send(SmtpClient::Smtplib, "XOAUTH2", &site.token(json!({})));
    assert!(outcome.logged_in, "{}", outcome.transcript);
    let home = site.scratch.path().to_owned();
    let (port, group, children) = (
        site.postfix.port(),
        site.postfix.master_pid(),
        site.postfix.children(),
    );
    assert!(children.len() >= 4, "{children:?}");
    // master keeps them where one signal finds them all.
    assert_eq!(process::members(group).len(), children.len() + 1);
    drop(site);
    assert!(process::members(group).is_empty());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!home.exists());
}
