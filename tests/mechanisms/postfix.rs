//! Postfix's smtpd, configured as the example: clients with a token or a password send mail.

// clippy recognizes only #[test] functions as tests.
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

/// The issuer in the example configuration.
const KEYCLOAK: &str = "https://sso.univ.example/realms/univ";

/// The service name of tickets, in imapd and in smtpd.
const SERVICE: &str = "imap://mail.univ.example";

/// The password of alice, who also has tokens.
const PASSWORD: &str = "an-ordinary-one";

/// The clients and mechanisms that send a token. curl chooses OAUTHBEARER if it is offered.
const TOKEN_LOGINS: [(SmtpClient, &str); 5] = [
    (SmtpClient::Curl, "OAUTHBEARER"),
    (SmtpClient::Smtplib, "OAUTHBEARER"),
    (SmtpClient::Smtplib, "XOAUTH2"),
    (SmtpClient::SmtplibLater, "OAUTHBEARER"),
    (SmtpClient::SmtplibLater, "XOAUTH2"),
];

/// A Postfix configured as the example, and the issuer of its tokens.
struct PostfixEnv {
    issuer: KeyServer,
    key: SigningKey,
    postfix: Postfix,
    clients: SmtpClients,
    authority: Authority,
    scratch: Scratch,
}

impl PostfixEnv {
    /// Starts the environment without a server that checks passwords.
    fn new(name: &str) -> Self {
        Self::with(name, None, &[])
    }

    /// Starts the environment with the socket of a server that checks passwords, and with
    /// additional lines of smtpd.conf.
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
            // Otherwise smtpd would use the saslauthd of the machine.
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

    /// Creates a valid token of alice, with these claims changed.
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

    /// Waits for a log line after `mark` that contains all these words.
    #[track_caller]
    fn logged(&self, mark: usize, words: &[&str]) -> Line {
        let wanted = |line: &Line| words.iter().all(|word| line.text.contains(word));
        let log = self.postfix.log();
        let line = log.wait_for_since(mark, wanted, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }
}

/// Returns the lines of the example with the names of the test's servers. The harness itself sets
/// the state directory and the socket.
fn example(issuer: &KeyServer) -> Vec<(String, String)> {
    let set_by_harness = ["saslauthd_path", "sso_state_dir"];
    examples::lines("smtpd.conf")
        .into_iter()
        .filter(|(key, _)| !set_by_harness.contains(&key.as_str()))
        .map(|(key, value)| (key, value.replace(KEYCLOAK, &issuer.issuer())))
        .collect()
}

/// Returns the same options for imapd.
fn imapd_conf(env: &PostfixEnv) -> Vec<(String, String)> {
    let ca = env.authority.write_ca(&env.scratch).display().to_string();
    let mut lines = example(&env.issuer);
    lines.push(("jwt_ca_file".to_owned(), ca));
    lines.retain(|(key, _)| key.starts_with("jwt_"));
    let prefixed = |(key, value)| (format!("sasl_{key}"), value);
    lines.into_iter().map(prefixed).collect()
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
fn only_valid_tokens_may_send_mail() {
    let env = PostfixEnv::new("smtp");
    for (id, (client, mechanism)) in TOKEN_LOGINS.into_iter().enumerate() {
        let mark = env.postfix.log().mark();
        let outcome = env.send(client, mechanism, &env.token(json!({"jti": id})));
        let context = || {
            let log = env.postfix.log().tail();
            format!("{client:?} {mechanism}\n{}\n{log}", outcome.transcript)
        };
        assert!(outcome.logged_in, "{}", context());
        let method = format!("sasl_method={mechanism}");
        env.logged(mark, &[&method, "sasl_username=alice"]);
        // The message is delivered later, by another process.
        env.logged(mark, &["to=<bert@localhost>", "status=sent"]);
    }
    // smtpd created the state directory, and does not run as root.
    let state = env.postfix.state_dir();
    let metadata = std::fs::metadata(&state).expect("there is no state directory");
    assert_eq!(metadata.mode() & 0o777, 0o700);
    let owner = User::from_name(&postfix_conf::mail_owner()).expect("cannot look up the user");
    assert_eq!(Some(metadata.uid()), owner.map(|user| user.uid.as_raw()));

    let outcome = env.send(SmtpClient::Smtplib, "none", "");
    assert!(!outcome.logged_in, "{}", outcome.transcript);
    let refusal = "554 5.7.1 <bert@localhost>: Recipient address rejected";
    env.logged(0, &["reject: RCPT", refusal]);
}

#[test]
fn no_mechanism_is_offered_before_tls() {
    let env = PostfixEnv::new("smtp-tls");
    let mut stream =
        TcpStream::connect(("127.0.0.1", env.postfix.port())).expect("cannot connect to smtpd");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("cannot set the time-out");
    stream
        .write_all(b"EHLO client.example\r\nAUTH XOAUTH2\r\nQUIT\r\n")
        .expect("sending");
    let mut replies = String::new();
    stream
        .read_to_string(&mut replies)
        .expect("cannot read the replies");
    assert!(replies.contains("STARTTLS"), "{replies}");
    assert!(!replies.contains("AUTH "), "{replies}");
    assert!(
        replies.contains("\n530 5.7.0 Must issue a STARTTLS"),
        "{replies}"
    );
}

#[test]
fn bad_token_is_refused_permanently_with_a_challenge() {
    let env = PostfixEnv::new("smtp-bad");
    let forger = SigningKey::p256();
    let forged = signed(&forger, &env.issuer, json!({}));
    let bad = [
        (env.token(json!({"exp": now() - 600})), "token_expired"),
        (env.token(json!({"aud": "other"})), "audience_not_allowed"),
        (forged, "signature_wrong"),
    ];
    for (client, mechanism) in TOKEN_LOGINS {
        for (token, reason) in &bad {
            let mark = env.postfix.log().mark();
            let outcome = env.send(client, mechanism, token);
            let transcript = &outcome.transcript;
            assert!(!outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
            assert!(transcript.contains("535 5.7.8"), "{transcript}");
            let challenge = outcome.challenge().expect(transcript);
            let status = match mechanism {
                "XOAUTH2" => "401",
                _ => "invalid_token",
            };
            assert!(challenge.contains(status), "{challenge}");
            // Postfix logs the line by default only because it is a warning.
            let line = env.logged(mark, &["outcome=refused", &format!("reason={reason} ")]);
            assert_eq!(line.level, level::WARNING, "{line:?}");
        }
    }
}

#[test]
fn issuer_outage_is_temporary_and_cached_tokens_are_accepted() {
    let env = PostfixEnv::new("smtp-outage");
    let cached = env.token(json!({}));
    let outcome = env.send(SmtpClient::Smtplib, "XOAUTH2", &cached);
    assert!(outcome.logged_in, "{}", outcome.transcript);

    env.issuer.set(Behaviour::CloseOnAccept);
    let claims = json!({"iss": env.issuer.issuer(), "aud": "imap.univ.example"});
    let header = r#"{"alg":"ES256","kid":"k2","typ":"JWT"}"#;
    let unknown = SigningKey::p256().token(header, &claims.to_string());
    for (client, mechanism) in TOKEN_LOGINS {
        let mark = env.postfix.log().mark();
        let outcome = env.send(client, mechanism, &unknown);
        let transcript = &outcome.transcript;
        assert!(!outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
        assert!(transcript.contains("454 4.7.0"), "{transcript}");
        // This Postfix logs the line by default.
        let line = env.logged(mark, &["outcome=unavailable", "reason=server_"]);
        assert_eq!(line.level, level::WARNING, "{line:?}");
    }
    let outcome = env.send(SmtpClient::Smtplib, "XOAUTH2", &cached);
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

#[test]
fn smtpd_accepts_tokens_of_14_kilobytes() {
    let env = PostfixEnv::new("smtp-long");
    // The token has 14 kB, and the message 19 kB in base64.
    let token = env.token(json!({"groups": "x".repeat(10_500)}));
    for (client, mechanism) in TOKEN_LOGINS {
        let outcome = env.send(client, mechanism, &token);
        let transcript = &outcome.transcript;
        assert!(outcome.logged_in, "{client:?} {mechanism}\n{transcript}");
    }
}

#[test]
fn one_token_works_for_imapd_and_smtpd_with_the_same_options() {
    let env = PostfixEnv::new("smtp-imap");
    let mut imapd_conf = imapd_conf(&env);
    imapd_conf.push(("sasl_mech_list".to_owned(), "OAUTHBEARER".to_owned()));
    let options = cyrus::Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf,
        ..cyrus::Options::default()
    };
    let cyrus = Cyrus::start(&env.scratch, &env.authority, options);
    let token = env.token(json!({}));
    let mut imap = Imap::connect(cyrus.imap_port());
    let reply = imap.authenticate("OAUTHBEARER", &oauthbearer(&token), &[]);
    assert!(reply.ok, "{reply:?}\n{}", cyrus.log().tail());
    let outcome = env.send(SmtpClient::Smtplib, "OAUTHBEARER", &token);
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

/// Returns what a client may send as a password, whether it is accepted, and what the log contains
/// if the daemon validates it.
fn possible_passwords(env: &PostfixEnv, id: usize) -> [(String, bool, Option<&'static str>); 4] {
    [
        (
            env.token(json!({"jti": id})),
            true,
            Some("outcome=accepted"),
        ),
        (
            env.token(json!({"exp": now() - 600})),
            false,
            Some("reason=token_expired"),
        ),
        (PASSWORD.to_owned(), true, None),
        ("a-wrong-one".to_owned(), false, None),
    ]
}

/// Sends mail with PLAIN and LOGIN, whose passwords the daemon checks.
fn check_passwords(daemon: Daemon, env: &PostfixEnv, saslauthd: &PasswordServer) {
    let clients = [
        (SmtpClient::Curl, "PLAIN"),
        (SmtpClient::Curl, "LOGIN"),
        (SmtpClient::Smtplib, "PLAIN"),
        (SmtpClient::SmtplibLater, "LOGIN"),
    ];
    for (id, (client, mechanism)) in clients.into_iter().enumerate() {
        for (password, is_good, decision) in possible_passwords(env, id) {
            let mark = env.postfix.log().mark();
            let outcome = env.send(client, mechanism, &password);
            let transcript = &outcome.transcript;
            assert_eq!(
                outcome.logged_in, is_good,
                "{client:?} {mechanism}\n{transcript}"
            );
            if let Some(decision) = decision {
                env.logged(mark, &["mech=saslauthd service=smtp", decision]);
            }
            if is_good {
                let method = format!("sasl_method={mechanism}");
                env.logged(mark, &[&method, "sasl_username=alice"]);
            } else {
                assert!(transcript.contains("535 5.7.8"), "{transcript}");
            }
        }
    }
    saslauthd.assert_asked(2 * clients.len());

    // During an outage the client does not learn that its password is wrong, keeps it, and tries
    // later.
    env.issuer.set(Behaviour::CloseOnAccept);
    let header = r#"{"alg":"ES256","kid":"k2","typ":"JWT"}"#;
    let claims = json!({"iss": env.issuer.issuer()}).to_string();
    let unknown = SigningKey::p256().token(header, &claims);
    let assert_unavailable = |password: &str| {
        let outcome = env.send(SmtpClient::Smtplib, "PLAIN", password);
        let transcript = &outcome.transcript;
        assert!(transcript.contains("454 4.7.0"), "{transcript}");
    };
    assert_unavailable(&unknown);
    env.logged(
        0,
        &["mech=saslauthd", "outcome=unavailable", "reason=server_"],
    );
    drop(daemon);
    assert_unavailable(PASSWORD);
    env.logged(0, &["cannot connect to saslauthd server"]);
    // A token by OAUTHBEARER is accepted without the daemon.
    env.issuer.set(Behaviour::Tickets);
    let outcome = env.send(SmtpClient::Curl, "OAUTHBEARER", &env.token(json!({})));
    assert!(outcome.logged_in, "{}", outcome.transcript);
}

#[test]
fn passwords_are_checked_by_a_daemon_with_the_configuration_of_smtpd() {
    let saslauthd = PasswordServer::start(&Authority::new(), &[("alice", PASSWORD)]);
    let fallback = saslauthd.mux().display().to_string();
    let run = Scratch::new("run");
    run.give_to(run.path(), &postfix_conf::mail_owner());
    let mux = run.join("mux");
    let lines = [("sso_fallback_socket", fallback.as_str())];
    let env = PostfixEnv::with("smtp-own", Some(mux.clone()), &lines);
    // The daemon runs as the user of smtpd, who owns the session cache.
    let mut command = daemon::command(&env.scratch, &env.postfix.smtpd_conf(), env.postfix.log());
    command.args(["--user", &postfix_conf::mail_owner()]);
    check_passwords(
        Daemon::start_with(&env.scratch, &mux, command),
        &env,
        &saslauthd,
    );
}

#[test]
fn passwords_are_checked_by_the_daemon_of_imapd() {
    let saslauthd = PasswordServer::start(&Authority::new(), &[("alice", PASSWORD)]);
    let run = Scratch::new("run");
    let mux = daemon::mux(&run);
    let env = PostfixEnv::with("smtp-imapd", Some(mux.clone()), &[]);
    let mut imapd_conf = imapd_conf(&env);
    // The daemon also accepts tickets, with one service name for all services.
    let cas = FaultyCas::start(&env.authority);
    let ca = env.authority.write_ca(&env.scratch).display().to_string();
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
        ("sasl_sso_fallback_socket", saslauthd.mux()),
    ] {
        imapd_conf.push((key.to_owned(), path.display().to_string()));
    }
    let options = cyrus::Options {
        imapd_conf,
        ..cyrus::Options::default()
    };
    let cyrus = Cyrus::start(&env.scratch, &env.authority, options);
    let mut command = daemon::command(&env.scratch, &cyrus.imapd_conf(), env.postfix.log());
    // In production Postfix may use the socket as a member of the group sasl. The user of the test
    // is in no group.
    command.args(["--mode", "0666"]);
    let daemon = Daemon::start_with(&env.scratch, &mux, command);
    cas.arm_service(SERVICE);
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    for mechanism in ["PLAIN", "LOGIN"] {
        let outcome = env.send(SmtpClient::Smtplib, mechanism, "PT-1-alice");
        assert!(outcome.logged_in, "{mechanism}\n{}", outcome.transcript);
    }
    let outcome = env.send(SmtpClient::Smtplib, "PLAIN", "PT-2-forged");
    assert!(
        outcome.transcript.contains("535 5.7.8"),
        "{}",
        outcome.transcript
    );
    assert_eq!(cas.requests().len(), 2);
    check_passwords(daemon, &env, &saslauthd);
}

#[test]
fn token_sent_by_plain_works_without_a_daemon() {
    let env = PostfixEnv::with("smtp-plain", None, &[("sso_plain", "yes")]);
    for (id, client) in [SmtpClient::Curl, SmtpClient::Smtplib]
        .into_iter()
        .enumerate()
    {
        let mark = env.postfix.log().mark();
        let outcome = env.send(client, "PLAIN", &env.token(json!({"jti": id})));
        let transcript = &outcome.transcript;
        assert!(outcome.logged_in, "{client:?}\n{transcript}");
        env.logged(mark, &["sasl_method=PLAIN", "sasl_username=alice"]);
        let outcome = env.send(client, "PLAIN", &env.token(json!({"exp": now() - 600})));
        let transcript = &outcome.transcript;
        assert!(transcript.contains("535 5.7.8"), "{client:?}\n{transcript}");
        let line = env.logged(mark, &["mech=PLAIN", "reason=token_expired"]);
        assert_eq!(line.level, level::WARNING, "{line:?}");
    }
}

#[test]
fn stopped_postfix_leaves_no_process_port_or_file() {
    let env = PostfixEnv::new("smtp-gone");
    let outcome = env.send(SmtpClient::Smtplib, "XOAUTH2", &env.token(json!({})));
    assert!(outcome.logged_in, "{}", outcome.transcript);
    let home = env.scratch.path().to_owned();
    let (port, group, children) = (
        env.postfix.port(),
        env.postfix.master_pid(),
        env.postfix.children(),
    );
    assert!(children.len() >= 4, "{children:?}");
    // All processes are in the process group of master, so one signal ends them.
    assert_eq!(process::members(group).len(), children.len() + 1);
    drop(env);
    assert!(process::members(group).is_empty());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!home.exists());
}
