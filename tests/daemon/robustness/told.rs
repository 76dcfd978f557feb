//! What the administrator does to a daemon that is in use: ends it, has it read its files again,
//! starts a second one.

use nix::sys::signal::Signal;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_support::daemon::{self, Daemon, ask, request};
use test_support::daemon_site::Site;
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::PROXY;
use test_support::scratch::Scratch;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};

/// Waits until CAS has been asked about something that it has not answered.
fn under_way(cas: &FaultyCas, before: usize) {
    assert!(wait_until(PATIENCE, || cas.requests().len() > before));
}

#[test]
fn told_to_end_it_finishes_what_is_under_way_and_leaves_the_rest_to_the_next() {
    let mut site = Site::new("sigterm", &[("sasl_caspt_timeout", "10")]);
    let mux = site.daemon.mux().to_owned();
    site.know("PT-1-known", "alice");
    site.cas.arm("PT-2-late", "alice", &[PROXY]);
    site.cas.set_delay(Duration::from_secs(2));
    let mark = site.mark();
    std::thread::scope(|scope| {
        let bytes = request(&["alice", "PT-2-late", "imap", ""]);
        let late = scope.spawn({
            let mux = mux.clone();
            move || ask(&mux, &bytes)
        });
        under_way(&site.cas, 1);
        site.daemon.signal(Signal::SIGTERM);
        site.said(mark, &["finishing what is under way"]);
        // Who comes now knows at once that nobody is there, or finds the next one.
        assert!(wait_until(PATIENCE, || !mux.exists()));
        let mut next = Daemon::start(&site.scratch, &site.cyrus);
        std::mem::swap(&mut site.daemon, &mut next);
        assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
        assert!(next.running());
        let answer = late.join().expect("an answer");
        assert_eq!(answer.as_deref(), Some("OK"));
        assert_eq!(next.wait().code(), Some(0));
        assert_eq!(next.output(), "");
    });
    // It did not take the place of the next one with it; that one takes its own.
    assert_eq!(site.ask("alice", "PT-2-late").as_deref(), Some("OK"));
    site.daemon.signal(Signal::SIGTERM);
    assert_eq!(site.daemon.wait().code(), Some(0));
    assert!(!mux.exists());
}

/// Changes lines of imapd.conf, or adds them, and has the daemon read it; the place of the log before.
fn set(site: &Site, options: &[(&str, &str)]) -> usize {
    let path = site.cyrus.imapd_conf();
    let mut conf = fs::read_to_string(&path).expect("imapd.conf");
    for (option, value) in options {
        let start = format!("{option}: ");
        let others = conf.lines().filter(|line| !line.starts_with(&start));
        conf = others.map(|line| format!("{line}\n")).collect();
        conf.push_str(&format!("{start}{value}\n"));
    }
    fs::write(&path, conf).expect("imapd.conf");
    let mark = site.mark();
    site.daemon.signal(Signal::SIGHUP);
    mark
}

#[test]
fn told_to_read_again_it_takes_what_is_right_and_loses_no_session() {
    let site = Site::new("sighup", &[]);
    site.know("PT-1-known", "alice");

    // Each fault is said, and nothing of it is taken, nor of what would be right.
    let stays = "sso: the old configuration stays: ";
    let portal = format!("{PROXY} https://portal.example/*");
    let saslauthd = site.fallback().display().to_string();
    let mark = set(
        &site,
        &[
            ("sasl_caspt_timeout", "never"),
            ("sasl_caspt_rate_limit", "none"),
            ("sasl_caspt_proxies", &portal),
            ("sasl_sso_fallback_socket", &saslauthd),
        ],
    );
    for option in ["sasl_caspt_timeout: ", "sasl_caspt_rate_limit: "] {
        let said = site.said(mark, &[&format!("{stays}{option}")]);
        assert_eq!(said.level, level::ERR);
    }
    assert_eq!(site.ask("alice", "ordinary").as_deref(), Some("NO"));
    site.said(mark, &["reason=no_credential"]);
    let asked = site.cas.requests().len();
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(site.cas.requests().len(), asked);
    assert_eq!(site.count(mark, "was read again"), 0);

    let again = "sso: the configuration was read again";
    let right = [("sasl_caspt_timeout", "2"), ("sasl_caspt_rate_limit", "50")];
    let mark = set(&site, &right);
    site.said(mark, &[again]);
    assert_eq!(site.ask("alice", "ordinary"), None);
    site.said(mark, &["reason=fallback_unusable"]);
    let chain = ["https://portal.example/pgt"];
    site.cas.arm("PT-2-portal", "alice", &chain);
    assert_eq!(site.ask("alice", "PT-2-portal").as_deref(), Some("OK"));

    // Sessions belong to the policy under which they were opened, and are there with it again.
    let asked = site.cas.requests().len();
    let mark = set(&site, &[("sasl_caspt_proxies", PROXY)]);
    site.said(mark, &[again]);
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(site.cas.requests().len(), asked);
    assert_eq!(site.ask("alice", "PT-2-portal").as_deref(), Some("NO"));
}

#[test]
fn read_again_while_a_ticket_is_under_way_it_answers_that_as_it_began() {
    let site = Site::new("reread", &[("sasl_caspt_timeout", "10")]);
    site.cas.arm("PT-1-late", "alice", &[PROXY]);
    site.cas.set_delay(Duration::from_millis(500));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| site.ask("alice", "PT-1-late"));
        under_way(&site.cas, 0);
        let mark = set(&site, &[("sasl_caspt_allow_direct", "yes")]);
        site.said(mark, &["sso: the configuration was read again"]);
        let answer = late.join().expect("an answer");
        assert_eq!(answer.as_deref(), Some("OK"));
    });
}

/// `sasl-sso serve`, which is to fail, with these arguments: what it says.
fn refusal(site: &Site, arguments: &[&str]) -> String {
    let mut command = daemon::command(&site.scratch, &site.cyrus.imapd_conf(), site.cyrus.log());
    command.args(arguments);
    let (success, said) = site.scratch.attempt("sasl-sso", command, "");
    assert!(!success, "{said}");
    said
}

#[test]
fn a_second_one_is_refused_and_the_first_goes_on() {
    let site = Site::new("second", &[]);
    let mark = site.mark();
    let said = refusal(&site, &[]);
    let why = "is served by another sasl-sso; end that one first";
    assert!(said.contains(why), "{said}");
    site.said(mark, &["sso: not serving: ", why]);
    site.know("PT-1-still", "alice");
    // Nor does it take the place of anything else.
    let file = site.scratch.join("daemon/file");
    fs::write(&file, "kept").expect("a file");
    let said = refusal(&site, &["--socket", &file.display().to_string()]);
    assert!(said.contains("is no socket"), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), b"kept");
}

/// What those see who connect again and again.
fn watch(mux: &Path, stopped: &AtomicBool) -> Vec<Result<bool, ErrorKind>> {
    let mut seen = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let bytes = request(&["alice", "PT-1-known", "imap", ""]);
        seen.push(match UnixStream::connect(mux) {
            Ok(mut stream) => {
                let _ = stream.write_all(&bytes);
                let mut answer = Vec::new();
                let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
                Ok(answer == b"\0\x02OK")
            }
            Err(error) => Err(error.kind()),
        });
    }
    seen
}

#[test]
fn what_a_killed_one_left_is_replaced_in_one_step() {
    let mut site = Site::new("replaced", &[]);
    site.know("PT-1-known", "alice");
    let mux = site.daemon.mux().to_owned();
    let stopped = AtomicBool::new(false);
    site.daemon.kill();
    assert!(
        fs::symlink_metadata(&mux)
            .expect("what it left")
            .file_type()
            .is_socket()
    );
    let left = fs::symlink_metadata(&mux).expect("what it left").ino();
    let seen = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&mux, &stopped));
        site.start_again();
        std::thread::sleep(Duration::from_millis(300));
        stopped.store(true, Ordering::Relaxed);
        watching.join().expect("what was seen")
    });
    assert_ne!(fs::symlink_metadata(&mux).expect("a socket").ino(), left);
    // Nobody, and from one moment on somebody: never that there is no such place, that it may not
    // be used, or that there is no answer.
    let first = seen.iter().position(Result::is_ok).expect("an answer");
    let (before, after) = seen.split_at(first);
    assert!(
        before
            .iter()
            .all(|seen| *seen == Err(ErrorKind::ConnectionRefused))
    );
    assert!(!before.is_empty() && after.len() > 10);
    assert!(after.iter().all(|seen| *seen == Ok(true)));
}

/// The mode and the group of a socket.
fn rights(mux: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(mux).expect("a socket");
    (metadata.permissions().mode() & 0o7777, metadata.gid())
}

/// Starts one at a path of its own.
fn start(scratch: &Scratch, site: &Site, name: &str, arguments: &[&str]) -> Daemon {
    let mux = daemon::mux(scratch).with_file_name(name);
    let mut command = daemon::command(scratch, &site.cyrus.imapd_conf(), site.cyrus.log());
    command.arg("--socket").arg(&mux).args(arguments);
    Daemon::start_with(scratch, &mux, command)
}

#[test]
fn the_socket_is_for_whom_the_administrator_says() {
    let site = Site::new("rights", &[]);
    let name = test_support::scratch::cyrus_user();
    let user = nix::unistd::User::from_name(&name).ok().flatten();
    let own = user.expect("a user").gid;
    let group = nix::unistd::Group::from_gid(own).ok().flatten();
    let group = group.expect("a group").name;
    // As Debian has saslauthd's: for the group that may ask it, if the user is in it.
    let (mode, gid) = rights(site.daemon.mux());
    let sasl = nix::unistd::Group::from_name("sasl").ok().flatten();
    let is_in_sasl = |sasl: &nix::unistd::Group| sasl.mem.contains(&name);
    let expected = sasl.filter(is_in_sasl).map_or(own, |sasl| sasl.gid);
    assert_eq!((mode, gid), (0o660, expected.as_raw()));
    let other = start(
        &site.scratch,
        &site,
        "other",
        &["--mode", "0600", "--group", &group],
    );
    assert_eq!(rights(other.mux()), (0o600, own.as_raw()));
    let open = start(&site.scratch, &site, "open", &["--mode", "666"]);
    assert_eq!(rights(open.mux()).0, 0o666);
    for arguments in [
        ["--mode", "0999"],
        ["--mode", "4755"],
        ["--group", "no-such-group"],
    ] {
        let said = refusal(&site, &arguments);
        assert!(said.contains(arguments[0]), "{said}");
    }
}
