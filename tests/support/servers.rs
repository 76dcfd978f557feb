//! Tests of the harness itself, on which all other tests rely.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use test_support::authority::Authority;
use test_support::cas::{CasServer, browser};
use test_support::cas_reply;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::imap::Imap;
use test_support::oidc::OidcProvider;
use test_support::php_webmail::PhpWebmail;
use test_support::portal::Portal;
use test_support::postfix::{self, Postfix};
use test_support::saslauthd::Saslauthd;
use test_support::scratch::Scratch;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};

const IMAP: &str = "imap://localhost";
/// Set in the process that `killed_test_process_leaves_nothing` kills.
const OWNER: &str = "SSO_TEST_OWNER";

#[test]
fn private_sasldb_user_logs_in_and_is_logged() {
    let scratch = Scratch::new("plain");
    let cyrus = Cyrus::start(&scratch, &Authority::new(), Options::default());
    cyrus.sasl_user("anna", "secret");
    let mut imap = Imap::connect(cyrus.imap_port());
    assert!(imap.capabilities().contains(&"AUTH=PLAIN".to_owned()));
    let reply = imap.authenticate("PLAIN", b"\0anna\0secret", &[]);
    assert!(reply.ok, "{reply:?}");
    let pid = reply.session_pid.unwrap();
    assert_eq!(cyrus.children(), [pid]);
    let line = cyrus.log().wait_for(
        |line| line.pid == pid && line.text.contains("anna PLAIN User logged in"),
        PATIENCE,
    );
    assert_eq!(line.unwrap().level, level::NOTICE);

    let mut imap = Imap::connect(cyrus.imap_port());
    let reply = imap.authenticate_by_challenge("PLAIN", &[b"\0anna\0wrong"]);
    assert!(!reply.ok && reply.challenges.len() == 1, "{reply:?}");
    let reply = imap.authenticate_raw("PLAIN", None, &["*"]);
    assert!(reply.status_line.starts_with("BAD"), "{reply:?}");
    assert!(imap.login("anna", "secret").ok);
    assert!(imap.logout().ok);
}

#[test]
fn implicit_tls_and_starttls_work() {
    let scratch = Scratch::new("tls");
    let authority = Authority::new();
    let options = Options {
        services: vec![Service::Imap, Service::Imaps],
        imapd_conf: vec![("allowplaintext".to_owned(), "no".to_owned())],
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    let plain = "AUTH=PLAIN".to_owned();
    let mut imap = Imap::connect(cyrus.imap_port());
    assert!(!imap.capabilities().contains(&plain));
    imap.starttls(&authority);
    assert!(imap.capabilities().contains(&plain));
    let mut imap = Imap::connect_tls(cyrus.imaps_port(), &authority);
    assert!(imap.capabilities().contains(&plain));
}

#[test]
fn master_replaces_children_on_hup_and_restarts() {
    let scratch = Scratch::new("hup");
    let mut cyrus = Cyrus::start(&scratch, &Authority::new(), Options::default());
    cyrus.sasl_user("anna", "secret");
    assert!(Imap::connect(cyrus.imap_port()).login("anna", "secret").ok);
    let old = cyrus.children();
    cyrus.hup();
    // SIGHUP does not wake a process that waits for a connection; the next connection does.
    assert!(wait_until(PATIENCE, || {
        Imap::connect(cyrus.imap_port()).logout();
        !cyrus.children().iter().any(|pid| old.contains(pid))
    }));
    let master = cyrus.master_pid();
    cyrus.restart();
    assert_ne!(cyrus.master_pid(), master);
    assert!(Imap::connect(cyrus.imap_port()).login("anna", "secret").ok);
    cyrus.stop();
    assert!(TcpStream::connect(("127.0.0.1", cyrus.imap_port())).is_err());
}

#[test]
fn pop3_and_sieve_answer_and_libsasl2_logs() {
    let scratch = Scratch::new("others");
    let options = Options {
        services: vec![Service::Pop3, Service::Sieve],
        imapd_conf: vec![("sasl_log_level".to_owned(), "7".to_owned())],
        // Without sasldb, libsasl2 itself logs a message.
        stock_plugins: vec!["libplain.so"],
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
    let sieve = first_lines(cyrus.sieve_port(), &[]);
    assert!(sieve[0].starts_with("\"IMPLEMENTATION\""), "{sieve:?}");
    let pop3 = first_lines(cyrus.pop3_port(), &["USER anna", "PASS secret"]);
    assert!(
        pop3[1].starts_with("+OK") && pop3[2].starts_with("-ERR"),
        "{pop3:?}"
    );
    let line = cyrus.log().wait_for(
        |line| line.text.contains("unknown password verifier(s) auxprop"),
        PATIENCE,
    );
    assert!(line.is_some(), "{}", cyrus.log().tail());
}

/// Returns the first line of a server and the first line of each reply to `commands`.
fn first_lines(port: u16, commands: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect to the server");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("cannot set the read time-out");
    let mut reader = BufReader::new(stream.try_clone().expect("cannot duplicate the stream"));
    let mut next = || {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .map(|_| line)
            .expect("cannot read a line")
    };
    let mut lines = vec![next()];
    for command in commands {
        write!(stream, "{command}\r\n").expect("cannot send the command");
        lines.push(next());
    }
    lines
}

#[test]
fn stock_saslauthd_checks_passwords_at_cyrus() {
    let scratch = Scratch::new("saslauthd");
    let cyrus = Cyrus::start(&scratch, &Authority::new(), Options::default());
    cyrus.sasl_user("anna", "secret");
    let saslauthd = Saslauthd::start(&scratch, &cyrus);
    let ask = |password: &str| {
        let mut command = scratch.command("testsaslauthd");
        command
            .args(["-u", "anna", "-p", password, "-f"])
            .arg(saslauthd.mux());
        let mut process = scratch.spawn("testsaslauthd", command);
        process.wait(PATIENCE);
        process.output()
    };
    assert!(ask("secret").contains("OK"), "{}", saslauthd.output());
    assert!(ask("wrong").contains("NO"), "{}", saslauthd.output());
}

#[test]
fn real_cas_proxy_ticket_is_valid_once() {
    let scratch = Scratch::new("cas");
    let authority = Authority::new();
    let mut cas = CasServer::start(&scratch, &authority);
    let webmail = Portal::start(&authority, &cas, "webmail");
    let other_portal = Portal::start(&authority, &cas, "other");
    let ticket = webmail.proxy_ticket("anna", IMAP);
    let first = cas.validate(IMAP, &ticket);
    assert!(first.contains("<cas:user>anna</cas:user>"), "{first}");
    assert!(first.contains("<cas:role>staff</cas:role>"), "{first}");
    let proxy = |url: String| format!("<cas:proxy>{url}</cas:proxy>");
    assert!(first.contains(&proxy(webmail.pgt_url())), "{first}");
    let second = cas.validate(IMAP, &ticket);
    assert!(second.contains("INVALID_TICKET"), "{second}");
    assert_eq!(cas.validations(), 2);

    let other = cas.validate(IMAP, &other_portal.proxy_ticket("anna", IMAP));
    assert!(other.contains(&proxy(other_portal.pgt_url())), "{other}");
    let direct = cas.validate(IMAP, &webmail.service_ticket("anna", IMAP));
    assert!(direct.contains("<cas:user>anna</cas:user>"), "{direct}");
    assert!(!direct.contains("<cas:proxies>"), "{direct}");

    let ticket = webmail.proxy_ticket("anna", IMAP);
    cas.stop();
    assert!(browser(authority.ca_pem()).get(cas.url()).send().is_err());
    cas.start_again();
    cas.pause();
    let impatient = reqwest::blocking::Client::builder().timeout(Duration::from_millis(300));
    let error = impatient
        .build()
        .unwrap()
        .get(cas.url())
        .send()
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    cas.resume();
    assert!(
        cas.validate(IMAP, &ticket)
            .contains("<cas:user>anna</cas:user>")
    );
}

#[test]
fn many_users_obtain_tickets_concurrently() {
    let scratch = Scratch::new("many");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let webmail = Portal::start(&authority, &cas, "webmail");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cas, webmail) = (&cas, &webmail);
            scope.spawn(move || {
                for user in (0..50).filter(|user| user % 4 == thread) {
                    let user = format!("user{user}");
                    for _ in 0..2 {
                        let ticket = webmail.proxy_ticket(&user, IMAP);
                        assert!(cas.validate(IMAP, &ticket).contains(&user));
                    }
                }
            });
        }
    });
    assert_eq!(cas.validations(), 100);
}

#[test]
fn faulty_cas_behaves_as_set() {
    let authority = Authority::new();
    let mut cas = FaultyCas::start(&authority);
    let client = browser(authority.ca_pem());
    let get = |path: &str| {
        let reply = client.get(format!("{}{path}", cas.url())).send()?;
        Ok::<_, reqwest::Error>((reply.status().as_u16(), reply.text()?))
    };
    let validate = "/p3/proxyValidate?service=imap%3A%2F%2Flocalhost&ticket=PT-1";

    cas.arm("PT-1", "anna", &["https://webmail/?a=1&b=2"]);
    let (_, body) = get(validate).unwrap();
    assert!(body.contains("<cas:user>anna</cas:user>"), "{body}");
    assert!(body.contains("https://webmail/?a=1&amp;b=2"), "{body}");
    assert!(get(validate).unwrap().1.contains("INVALID_TICKET"));
    cas.arm("PT-1", "anna", &[]);
    cas.arm_service("imaps://localhost");
    assert!(get(validate).unwrap().1.contains("INVALID_SERVICE"));
    assert!(get(validate).unwrap().1.contains("INVALID_TICKET"));
    assert_eq!(cas.requests().len(), 4);
    assert_eq!(cas.requests()[0], format!("GET /cas{validate} HTTP/1.1"));

    cas.set(Behaviour::NotFoundOnP3);
    assert_eq!(get(validate).unwrap().0, 404);
    assert_eq!(get("/proxyValidate").unwrap().0, 200);
    cas.set(Behaviour::Answer(cas_reply::success(
        "bert",
        &[],
        &[("a", "b")],
    )));
    assert!(get("").unwrap().1.contains("<cas:a>b</cas:a>"));
    cas.set(Behaviour::Huge(3_000_000));
    assert_eq!(get("").unwrap().1.len(), 3_000_000);
    cas.set(Behaviour::EmptyBody);
    assert_eq!(get("").unwrap(), (200, String::new()));
    cas.set(Behaviour::Redirect("https://localhost/".to_owned()));
    assert_eq!(get("").unwrap().0, 302);

    let seen = cas.requests().len();
    for closing in [
        Behaviour::CloseOnAccept,
        Behaviour::CloseAfterRequest,
        Behaviour::CloseMidReply("half of it".to_owned()),
        Behaviour::RawBytes(b"* OK not HTTP\r\n".to_vec()),
    ] {
        cas.set(closing.clone());
        assert!(
            get("").is_err_and(|error| !error.is_timeout()),
            "{closing:?}"
        );
    }
    assert!(cas.requests().len() >= seen + 3);

    let within = |limit: Duration, url: &str| {
        let client = reqwest::blocking::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(
                authority.ca_pem().as_bytes(),
            )?])
            .timeout(limit);
        client.build()?.get(url).send()?.text()
    };
    let impatient = |url: &str| within(Duration::from_millis(300), url);
    // For requests that must succeed on a busy machine.
    let patient = |url: &str| within(PATIENCE, url);
    for hanging in [
        Behaviour::HangOnAccept,
        Behaviour::HangAfterRequest,
        Behaviour::Drip(String::new()),
    ] {
        cas.set(hanging.clone());
        assert!(
            impatient(&cas.url()).is_err_and(|error| error.is_timeout()),
            "{hanging:?}"
        );
    }
    let connections = cas.connections();
    cas.refuse();
    assert!(patient(&cas.url()).is_err_and(|error| error.is_connect()));
    cas.listen_again();
    cas.set(Behaviour::EmptyBody);
    assert!(patient(&cas.url()).is_ok());
    assert!(cas.connections() > connections);

    for bad in [
        FaultyCas::start_expired(&authority),
        FaultyCas::start_wrong_name(&authority),
        FaultyCas::start_self_signed(),
    ] {
        assert!(patient(&bad.url()).is_err_and(|error| error.is_connect()));
        assert!(bad.requests().is_empty());
    }
    let plain = FaultyCas::start_plain();
    assert!(plain.url().starts_with("http:") && patient(&plain.url()).is_ok());

    // Dropping the server also ends connections that hang.
    let dropped = Instant::now();
    drop(cas);
    assert!(dropped.elapsed() < PATIENCE);
}

#[test]
fn killed_test_process_leaves_nothing() {
    if std::env::var_os(OWNER).is_some() {
        run_servers_until_killed();
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers::killed_test_process_leaves_nothing",
            "--nocapture",
        ])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Owner)
        .unwrap();
    let output = BufReader::new(owner.0.stdout.take().unwrap());
    let scratch_dir = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("scratch: ").map(str::to_owned))
        .expect("the process printed no scratch directory");
    // The processes: master and an imapd, Postfix' master and qmgr, gunicorn with two workers, an
    // issuer, PHP with sixteen workers, the watchdog, and a program that ignores SIGTERM.
    assert!(
        processes_of(&scratch_dir).len() >= 27,
        "{:?}",
        processes_of(&scratch_dir)
    );
    drop(owner);
    let gone = wait_until(PATIENCE, || {
        processes_of(&scratch_dir).is_empty() && !Path::new(&scratch_dir).exists()
    });
    assert!(gone, "{:?}", processes_of(&scratch_dir));
}

/// Kills the process when dropped, whether or not the test passes.
struct Owner(Child);

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_servers_until_killed() -> ! {
    let scratch = Scratch::new("owner");
    let authority = Authority::new();
    let cyrus = Cyrus::start(&scratch, &authority, Options::default());
    let _imap = Imap::connect(cyrus.imap_port());
    let cas = CasServer::start(&scratch, &authority);
    Portal::start(&authority, &cas, "webmail").proxy_ticket("anna", IMAP);
    let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
    let _anna = webmail.log_in("anna");
    cas.pause();
    let _issuer = OidcProvider::start(&scratch, &authority);
    let postfix = Postfix::start(&scratch, &authority, &postfix::Options::default());
    let mut ignores_term = scratch.command("sh");
    ignores_term.args(["-c", "trap '' TERM; sleep 1000"]);
    let _ignores_term = scratch.spawn("ignores-term", ignores_term);
    wait_until(PATIENCE, || {
        !cyrus.children().is_empty() && !postfix.children().is_empty()
    });
    let line = format!("\nscratch: {}\n", scratch.path().display());
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("cannot write to standard output");
    // Waits until the parent kills this process, or exits.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(1);
}

/// Returns the processes with the directory in their command line or environment.
fn processes_of(scratch_dir: &str) -> Vec<String> {
    let mentions = |pid: &str, file: &str| {
        let mut bytes = Vec::new();
        let opened = fs::File::open(format!("/proc/{pid}/{file}"));
        let _ = opened.and_then(|mut file| file.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).contains(scratch_dir)
    };
    fs::read_dir("/proc")
        .expect("cannot read /proc")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| mentions(pid, "cmdline") || mentions(pid, "environ"))
        .collect()
}
