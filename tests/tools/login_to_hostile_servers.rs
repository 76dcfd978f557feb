//! `sasl-sso login` and servers that are none: whatever they say, they get no credential that they
//! should not have, and the terminal stays what it is.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use crate::login_site::{Answer, login};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use test_support::authority::{Authority, Identity, self_signed_certificate};
use test_support::base64;
use test_support::https_server::{End, Server, Stream};
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

const TICKET: &str = "PT-1-qj7w2mZx9Kd4vT1pLs8eYr3u";

/// A server that does as it is told, and keeps what its clients say.
struct Played {
    server: Server,
    heard: Arc<Mutex<String>>,
}

impl Played {
    /// In the clear, or with TLS from the start.
    fn start(
        identity: Option<&Identity>,
        play: impl Fn(&mut Stage, &End) + Send + Sync + 'static,
    ) -> Self {
        let heard = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&heard);
        let server = Server::start(identity, move |stream, end| {
            let mut stage = Stage {
                stream,
                heard: &kept,
            };
            play(&mut stage, end);
        });
        Self { server, heard }
    }

    /// A login to it by IMAP.
    fn login(&self, arguments: &[&str]) -> Answer {
        self.login_by("--imap", arguments)
    }

    fn login_by(&self, protocol: &str, arguments: &[&str]) -> Answer {
        let (_, address) = self
            .server
            .origin()
            .split_once("//")
            .map(own)
            .expect("an origin");
        let mut all = vec![protocol, &address, "--again", "0"];
        all.extend(arguments);
        let answer = login(&all, TICKET);
        answer.hides(TICKET);
        answer
    }

    fn heard(&self) -> String {
        self.heard.lock().expect("what was heard").clone()
    }
}

fn own((scheme, address): (&str, &str)) -> (String, String) {
    (scheme.to_owned(), address.to_owned())
}

/// A connection, as the server sees it.
struct Stage<'s> {
    stream: &'s mut dyn Stream,
    heard: &'s Mutex<String>,
}

impl Stage<'_> {
    fn say(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
        let _ = self.stream.flush();
    }

    /// A line of the client's; empty when it has gone.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let mut byte = [0];
        while !line.ends_with('\n') && matches!(self.stream.read(&mut byte), Ok(1)) {
            line.push(char::from(byte[0]));
            self.heard
                .lock()
                .expect("what was heard")
                .push(char::from(byte[0]));
        }
        line
    }

    /// Answers a command with these untagged lines, and with OK.
    fn answer(&mut self, untagged: &str) {
        let line = self.line();
        let tag = line.split(' ').next().unwrap_or_default();
        self.say(&format!("{untagged}{tag} OK done\r\n"));
    }
}

const CAPABILITIES: &str = "* CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=CASPT\r\n";

#[test]
fn what_comes_between_the_consent_and_tls_ends_it() {
    let injecting = Played::start(None, |stage, _| {
        stage.say("* OK hello\r\n");
        stage.answer(CAPABILITIES);
        let line = stage.line();
        let tag = line.split(' ').next().unwrap_or_default();
        stage.say(&format!(
            "{tag} OK go\r\n* CAPABILITY IMAP4rev1 AUTH=CASPT\r\n"
        ));
        stage.line();
    });
    injecting
        .login(&[])
        .is(2)
        .says(&["failed: ", "between its OK and TLS"]);
    let heard = injecting.heard();
    assert_eq!(heard.lines().count(), 2, "{heard}");
}

#[test]
fn without_tls_and_a_certificate_for_the_name_nothing_is_sent() {
    let greeting = |stage: &mut Stage, _: &End| {
        stage.say("* OK hello\r\n");
        stage.answer("* CAPABILITY IMAP4rev1 SASL-IR AUTH=CASPT\r\n");
        stage.line();
    };
    let clear = Played::start(None, greeting);
    clear
        .login(&[])
        .is(2)
        .says(&["failed: ", "offers no TLS", "tls_server_cert"]);
    assert_eq!(clear.heard(), "s1 CAPABILITY\r\n");
    let already = Played::start(None, |stage, _| {
        stage.say("* PREAUTH hello\r\n");
        stage.line();
    });
    already
        .login(&[])
        .is(2)
        .says(&["failed: ", "logged in already"]);
    assert_eq!(already.heard(), "");

    let scratch = Scratch::new("certificates");
    let authority = Authority::new();
    let ca = authority.write_ca(&scratch).display().to_string();
    for (identity, why) in [
        (authority.wrong_name_certificate(), "--server-name"),
        (authority.expired_certificate(), "renew it"),
        (self_signed_certificate(), "--ca-file"),
    ] {
        let server = Played::start(Some(&identity), greeting);
        let asked = ["--tls", "--ca-file", ca.as_str()];
        server
            .login(&asked)
            .is(2)
            .says(&["failed: TLS with localhost", why]);
        assert_eq!(server.heard(), "");
    }
    // That it is the certificate, and nothing else.
    let good = Played::start(Some(&authority.server_certificate()), |stage, _| {
        stage.say("* OK hello\r\n");
        stage.answer(CAPABILITIES);
        stage.answer("");
        stage.answer("* BYE\r\n");
    });
    good.login(&["--tls", "--ca-file", &ca])
        .is(0)
        .says(&["logged in"]);
    let message = base64::encode(format!("\0\0{TICKET}").as_bytes());
    assert!(good.heard().contains(&message), "{}", good.heard());
}

#[test]
fn a_server_that_hangs_or_never_ends_is_given_up() {
    let hanging = Played::start(None, |_, end| while end.sleep(Duration::from_secs(60)) {});
    hanging
        .login(&["--timeout", "2"])
        .is(2)
        .says(&["failed: ", "--timeout"]);
    // One byte at a time is no way around it: the time is for all of a login.
    let dripping = Played::start(None, |stage, end| {
        while end.sleep(Duration::from_millis(100)) {
            stage.say("*");
        }
    });
    dripping
        .login(&["--timeout", "2"])
        .is(2)
        .says(&["failed: ", "--timeout"]);
    let endless = Played::start(None, |stage, _| {
        for _ in 0..1_000 {
            stage.say(&"x".repeat(1_000));
        }
    });
    endless
        .login(&[])
        .is(2)
        .says(&["failed: ", "does not stop talking"]);
    let announcing = Played::start(None, |stage, _| {
        stage.say("\"SASL\" {4000000000}\r\n");
        stage.line();
    });
    announcing
        .login_by("--sieve", &[])
        .is(2)
        .says(&["failed: ", "which is no answer"]);
    let listing = Played::start(None, |stage, _| {
        stage.say("+OK\r\n");
        stage.line();
        stage.say("+OK\r\n");
        for _ in 0..100_000 {
            stage.say("SASL CASPT\r\n");
        }
    });
    listing
        .login_by("--pop3", &[])
        .is(2)
        .says(&["failed: ", "does not stop talking"]);
    let closing = Played::start(None, |stage, _| stage.say("* OK hello\r\n"));
    closing.login(&[]).is(2).says(&["failed: "]);
    let challenging = Played::start(None, |stage, _| {
        stage.say("* OK hello\r\n");
        stage.answer(CAPABILITIES);
        while !stage.line().is_empty() {
            stage.say("+ \r\n");
        }
    });
    challenging
        .login(&["--plaintext"])
        .is(2)
        .says(&["failed: ", "again and again"]);
}

#[test]
fn what_a_server_says_neither_shows_the_credential_nor_changes_the_terminal() {
    let echoing = Played::start(None, |stage, _| {
        stage.say("* OK \x1b]0;title\x07 \u{202e}hello\r\n");
        stage.answer(CAPABILITIES);
        let line = stage.line();
        let message = line.rsplit(' ').next().unwrap_or_default().trim_end();
        let again = base64::encode(format!("x{TICKET}").as_bytes());
        stage.say(&format!("* OK {message} {TICKET}\r\n+ {again}\r\n"));
        stage.line();
        stage.say(&format!("s2 NO [ALERT] {message} {TICKET} \x1b[31m\r\n"));
        stage.line();
    });
    let answer = echoing.login(&["--plaintext"]);
    answer.is(1).says(&[
        "S: * OK ?]0;title? ?hello",
        "‹ticket, 29 bytes",
        "refused: ",
    ]);
    let is_odd = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!answer.out.contains(is_odd), "{:?}", answer.out);
    assert!(echoing.heard().contains("AUTHENTICATE CASPT "));
    // In JSON as well.
    let answer = echoing.login(&["--plaintext", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&answer.is(1).out).expect("JSON");
    assert_eq!(said["attempts"][0]["outcome"], "refused");
}

#[test]
fn what_is_cut_off_is_masked_before() {
    let broken = Played::start(None, |stage, _| {
        stage.say("\"SASL\" \"CASPT\"\r\nOK\r\n");
        stage.line();
        stage.line();
        let padding = "x".repeat(85);
        stage.say(&format!("\"{padding}{TICKET}\r\n"));
        stage.line();
    });
    let answer = broken.login_by("--sieve", &["--plaintext"]);
    answer.is(2).says(&["failed: ", "‹ticket, 29 bytes"]);
    assert!(!answer.out.contains(&TICKET[..8]), "{}", answer.out);
}

#[test]
fn a_message_waits_to_be_asked_for_where_it_must() {
    let waiting = Played::start(None, |stage, _| {
        stage.say("* OK hello\r\n");
        stage.answer("* CAPABILITY IMAP4rev1 AUTH=CASPT\r\n");
        stage.line();
        stage.say("+ \r\n");
        stage.line();
        stage.say("s2 OK hello\r\n");
        stage.answer("* BYE\r\n");
    });
    waiting.login(&["--plaintext"]).is(0);
    let message = base64::encode(format!("\0\0{TICKET}").as_bytes());
    let said = format!("s1 CAPABILITY\r\ns2 AUTHENTICATE CASPT\r\n{message}\r\ns3 LOGOUT\r\n");
    assert_eq!(waiting.heard(), said);
}

#[test]
fn what_is_wrong_with_the_question_is_told_before_anybody_is_asked() {
    let server = Played::start(None, |_, _| {});
    let told = |answer: &Answer, word: &str| {
        answer.is(2);
        assert!(answer.err.contains(word), "{}", answer.err);
        assert_eq!(answer.out, "");
    };
    told(
        &server.login(&["--ca-file", "/missing.pem"]),
        "/missing.pem: No such file",
    );
    told(
        &server.login(&["--file", "/missing"]),
        "/missing: No such file",
    );
    told(&server.login(&["--mechanism", "LOGIN"]), "--user");
    told(&server.login(&["--user", "a\nb"]), "control characters");
    told(
        &server.login(&["--pop3", "localhost"]),
        "cannot be used with",
    );
    told(&server.login(&["PT-1-as-an-argument"]), "is no argument");
    told(&login(&[], TICKET), "--imap");
    told(
        &login(&["--imap", "localhost:1"], "password"),
        "--mechanism PLAIN",
    );
    told(
        &login(&["--imap", "localhost:1"], ""),
        "there is no credential",
    );
    assert_eq!(server.server.connections(), 0);
    let nobody = login(&["--imap", "localhost:1", "--timeout", "2"], TICKET);
    nobody
        .is(2)
        .says(&["failed: ", "does the service run there"]);
}

/// script(1) has a terminal, and shows what is typed in it unless the program does not want that.
#[test]
fn on_a_terminal_the_credential_is_asked_for_and_not_shown() {
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
    let (keyboard, mut typed) = std::io::pipe().expect("a pipe");
    let mut script = scratch.spawn_with_input("script", command, keyboard.into());
    let asked = wait_until(PATIENCE, || script.output().contains("which is not shown"));
    assert!(asked, "{}", script.output());
    typed
        .write_all(format!("{TICKET}\n").as_bytes())
        .expect("a reader");
    let status = script.wait(PATIENCE).expect("its end");
    assert_eq!(status.code(), Some(2), "{}", script.output());
    let shown = script.output();
    assert!(shown.contains("does the service run there"), "{shown}");
    assert!(!shown.contains(TICKET), "{shown}");
}
