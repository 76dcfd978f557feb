//! `sasl-sso login` and hostile servers: they receive no credential that they should not have, and
//! cannot control the terminal.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use crate::login_env::{Run, login};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use test_support::authority::{Authority, Identity, self_signed_certificate};
use test_support::base64;
use test_support::https_server::{End, Server, Stream};
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

const TICKET: &str = "PT-1-qj7w2mZx9Kd4vT1pLs8eYr3u";

/// A server that follows a script and records what clients send.
struct ScriptedServer {
    server: Server,
    received: Arc<Mutex<String>>,
}

impl ScriptedServer {
    /// Starts the server, without TLS or with TLS from the start.
    fn start(
        identity: Option<&Identity>,
        script: impl Fn(&mut ServerConnection, &End) + Send + Sync + 'static,
    ) -> Self {
        let received = Arc::new(Mutex::new(String::new()));
        let recorded = Arc::clone(&received);
        let server = Server::start(identity, move |stream, end| {
            let mut connection = ServerConnection {
                stream,
                received: &recorded,
            };
            script(&mut connection, end);
        });
        Self { server, received }
    }

    /// Logs in by IMAP.
    fn login(&self, arguments: &[&str]) -> Run {
        self.login_by("--imap", arguments)
    }

    fn login_by(&self, protocol: &str, arguments: &[&str]) -> Run {
        let (_, address) = self
            .server
            .origin()
            .split_once("//")
            .map(owned)
            .expect("the origin has no scheme");
        let mut all = vec![protocol, &address, "--again", "0"];
        all.extend(arguments);
        let run = login(&all, TICKET);
        run.hides(TICKET);
        run
    }

    fn received(&self) -> String {
        self.received.lock().expect("the mutex is poisoned").clone()
    }
}

fn owned((scheme, address): (&str, &str)) -> (String, String) {
    (scheme.to_owned(), address.to_owned())
}

/// A connection from the server's side.
struct ServerConnection<'s> {
    stream: &'s mut dyn Stream,
    received: &'s Mutex<String>,
}

impl ServerConnection<'_> {
    fn send(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
        let _ = self.stream.flush();
    }

    /// Reads a line from the client; empty after the client has closed the connection.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let mut byte = [0];
        while !line.ends_with('\n') && matches!(self.stream.read(&mut byte), Ok(1)) {
            line.push(char::from(byte[0]));
            self.received
                .lock()
                .expect("the mutex is poisoned")
                .push(char::from(byte[0]));
        }
        line
    }

    /// Answers a command with these untagged lines and with OK.
    fn answer(&mut self, untagged: &str) {
        let line = self.line();
        let tag = line.split(' ').next().unwrap_or_default();
        self.send(&format!("{untagged}{tag} OK done\r\n"));
    }
}

const CAPABILITIES: &str = "* CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=CASPT\r\n";

#[test]
fn data_injected_before_starttls_ends_the_login() {
    let injecting = ScriptedServer::start(None, |connection, _| {
        connection.send("* OK hello\r\n");
        connection.answer(CAPABILITIES);
        let line = connection.line();
        let tag = line.split(' ').next().unwrap_or_default();
        connection.send(&format!(
            "{tag} OK go\r\n* CAPABILITY IMAP4rev1 AUTH=CASPT\r\n"
        ));
        connection.line();
    });
    injecting
        .login(&[])
        .exits_with(2)
        .prints(&["failed: ", "between its OK and TLS"]);
    let received = injecting.received();
    assert_eq!(received.lines().count(), 2, "{received}");
}

#[test]
fn credential_is_not_sent_without_tls_and_a_matching_certificate() {
    let greeting = |connection: &mut ServerConnection, _: &End| {
        connection.send("* OK hello\r\n");
        connection.answer("* CAPABILITY IMAP4rev1 SASL-IR AUTH=CASPT\r\n");
        connection.line();
    };
    let plaintext = ScriptedServer::start(None, greeting);
    plaintext
        .login(&[])
        .exits_with(2)
        .prints(&["failed: ", "offers no TLS", "tls_server_cert"]);
    assert_eq!(plaintext.received(), "s1 CAPABILITY\r\n");
    let preauth = ScriptedServer::start(None, |connection, _| {
        connection.send("* PREAUTH hello\r\n");
        connection.line();
    });
    preauth
        .login(&[])
        .exits_with(2)
        .prints(&["failed: ", "logged in already"]);
    assert_eq!(preauth.received(), "");

    let scratch = Scratch::new("certificates");
    let authority = Authority::new();
    let ca = authority.write_ca(&scratch).display().to_string();
    for (identity, why) in [
        (authority.wrong_name_certificate(), "--server-name"),
        (authority.expired_certificate(), "renew it"),
        (self_signed_certificate(), "--ca-file"),
    ] {
        let server = ScriptedServer::start(Some(&identity), greeting);
        let arguments = ["--tls", "--ca-file", ca.as_str()];
        server
            .login(&arguments)
            .exits_with(2)
            .prints(&["failed: TLS with localhost", why]);
        assert_eq!(server.received(), "");
    }
    // With a valid certificate the login succeeds.
    let good = ScriptedServer::start(Some(&authority.server_certificate()), |connection, _| {
        connection.send("* OK hello\r\n");
        connection.answer(CAPABILITIES);
        connection.answer("");
        connection.answer("* BYE\r\n");
    });
    good.login(&["--tls", "--ca-file", &ca])
        .exits_with(0)
        .prints(&["logged in"]);
    let message = base64::encode(format!("\0\0{TICKET}").as_bytes());
    assert!(good.received().contains(&message), "{}", good.received());
}

#[test]
fn login_gives_up_on_servers_that_hang_or_send_endless_data() {
    let hanging = ScriptedServer::start(None, |_, end| while end.sleep(Duration::from_secs(60)) {});
    hanging
        .login(&["--timeout", "2"])
        .exits_with(2)
        .prints(&["failed: ", "--timeout"]);
    // The time-out applies to the whole login, so sending single bytes does not extend it.
    let dripping = ScriptedServer::start(None, |connection, end| {
        while end.sleep(Duration::from_millis(100)) {
            connection.send("*");
        }
    });
    dripping
        .login(&["--timeout", "2"])
        .exits_with(2)
        .prints(&["failed: ", "--timeout"]);
    let endless = ScriptedServer::start(None, |connection, _| {
        for _ in 0..1_000 {
            connection.send(&"x".repeat(1_000));
        }
    });
    endless
        .login(&[])
        .exits_with(2)
        .prints(&["failed: ", "does not stop talking"]);
    let announcing = ScriptedServer::start(None, |connection, _| {
        connection.send("\"SASL\" {4000000000}\r\n");
        connection.line();
    });
    announcing
        .login_by("--sieve", &[])
        .exits_with(2)
        .prints(&["failed: ", "which is no answer"]);
    let listing = ScriptedServer::start(None, |connection, _| {
        connection.send("+OK\r\n");
        connection.line();
        connection.send("+OK\r\n");
        for _ in 0..100_000 {
            connection.send("SASL CASPT\r\n");
        }
    });
    listing
        .login_by("--pop3", &[])
        .exits_with(2)
        .prints(&["failed: ", "does not stop talking"]);
    let closing = ScriptedServer::start(None, |connection, _| connection.send("* OK hello\r\n"));
    closing.login(&[]).exits_with(2).prints(&["failed: "]);
    let challenging = ScriptedServer::start(None, |connection, _| {
        connection.send("* OK hello\r\n");
        connection.answer(CAPABILITIES);
        while !connection.line().is_empty() {
            connection.send("+ \r\n");
        }
    });
    challenging
        .login(&["--plaintext"])
        .exits_with(2)
        .prints(&["failed: ", "again and again"]);
}

#[test]
fn server_output_is_masked_and_stripped_of_control_characters() {
    let echoing = ScriptedServer::start(None, |connection, _| {
        connection.send("* OK \x1b]0;title\x07 \u{202e}hello\r\n");
        connection.answer(CAPABILITIES);
        let line = connection.line();
        let message = line.rsplit(' ').next().unwrap_or_default().trim_end();
        let again = base64::encode(format!("x{TICKET}").as_bytes());
        connection.send(&format!("* OK {message} {TICKET}\r\n+ {again}\r\n"));
        connection.line();
        connection.send(&format!("s2 NO [ALERT] {message} {TICKET} \x1b[31m\r\n"));
        connection.line();
    });
    let run = echoing.login(&["--plaintext"]);
    run.exits_with(1).prints(&[
        "S: * OK ?]0;title? ?hello",
        "‹ticket, 29 bytes",
        "refused: ",
    ]);
    let is_unsafe = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!run.out.contains(is_unsafe), "{:?}", run.out);
    assert!(echoing.received().contains("AUTHENTICATE CASPT "));
    // JSON output is masked in the same way.
    let run = echoing.login(&["--plaintext", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.exits_with(1).out).expect("JSON");
    assert_eq!(json["attempts"][0]["outcome"], "refused");
}

#[test]
fn credential_is_masked_before_output_is_truncated() {
    let broken = ScriptedServer::start(None, |connection, _| {
        connection.send("\"SASL\" \"CASPT\"\r\nOK\r\n");
        connection.line();
        connection.line();
        let padding = "x".repeat(85);
        connection.send(&format!("\"{padding}{TICKET}\r\n"));
        connection.line();
    });
    let run = broken.login_by("--sieve", &["--plaintext"]);
    run.exits_with(2).prints(&["failed: ", "‹ticket, 29 bytes"]);
    assert!(!run.out.contains(&TICKET[..8]), "{}", run.out);
}

#[test]
fn message_waits_for_the_continuation_request_without_sasl_ir() {
    let waiting = ScriptedServer::start(None, |connection, _| {
        connection.send("* OK hello\r\n");
        connection.answer("* CAPABILITY IMAP4rev1 AUTH=CASPT\r\n");
        connection.line();
        connection.send("+ \r\n");
        connection.line();
        connection.send("s2 OK hello\r\n");
        connection.answer("* BYE\r\n");
    });
    waiting.login(&["--plaintext"]).exits_with(0);
    let message = base64::encode(format!("\0\0{TICKET}").as_bytes());
    let expected = format!("s1 CAPABILITY\r\ns2 AUTHENTICATE CASPT\r\n{message}\r\ns3 LOGOUT\r\n");
    assert_eq!(waiting.received(), expected);
}

#[test]
fn wrong_arguments_are_reported_before_connecting() {
    let server = ScriptedServer::start(None, |_, _| {});
    let assert_error = |run: &Run, text: &str| {
        run.exits_with(2);
        assert!(run.err.contains(text), "{}", run.err);
        assert_eq!(run.out, "");
    };
    assert_error(
        &server.login(&["--ca-file", "/missing.pem"]),
        "/missing.pem: No such file",
    );
    assert_error(
        &server.login(&["--file", "/missing"]),
        "/missing: No such file",
    );
    assert_error(&server.login(&["--mechanism", "LOGIN"]), "--user");
    assert_error(&server.login(&["--user", "a\nb"]), "control characters");
    assert_error(
        &server.login(&["--pop3", "localhost"]),
        "cannot be used with",
    );
    assert_error(&server.login(&["PT-1-as-an-argument"]), "is no argument");
    assert_error(&login(&[], TICKET), "--imap");
    assert_error(
        &login(&["--imap", "localhost:1"], "password"),
        "--mechanism PLAIN",
    );
    assert_error(
        &login(&["--imap", "localhost:1"], ""),
        "there is no credential",
    );
    assert_eq!(server.server.connections(), 0);
    let run = login(&["--imap", "localhost:1", "--timeout", "2"], TICKET);
    run.exits_with(2)
        .prints(&["failed: ", "does the service run there"]);
}

/// script(1) provides a terminal, which echoes input unless the program turns that off.
#[test]
fn credential_is_read_from_the_terminal_without_echo() {
    let scratch = Scratch::new("terminal");
    let program = test_support::libsasl2::plugin().with_file_name("sasl-sso");
    let mut command = scratch.command("script");
    command
        .args(["-q", "-e", "-c"])
        .arg(format!(
            "{} login --imap localhost:1 --timeout 2",
            program.display()
        ))
        .arg("/dev/null");
    let (keyboard, mut typed) = std::io::pipe().expect("cannot create a pipe");
    let mut script = scratch.spawn_with_input("script", command, keyboard.into());
    let prompted = wait_until(PATIENCE, || script.output().contains("which is not shown"));
    assert!(prompted, "{}", script.output());
    typed
        .write_all(format!("{TICKET}\n").as_bytes())
        .expect("cannot write to the terminal");
    let status = script.wait(PATIENCE).expect("the program did not exit");
    assert_eq!(status.code(), Some(2), "{}", script.output());
    let shown = script.output();
    assert!(shown.contains("does the service run there"), "{shown}");
    assert!(!shown.contains(TICKET), "{shown}");
}
