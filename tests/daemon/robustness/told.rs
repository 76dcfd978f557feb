//! Administration of a running daemon: ending it, reloading its configuration, starting a second
//! one.

use nix::sys::signal::Signal;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_support::daemon::{self, Daemon, ask, request};
use test_support::daemon_site::DaemonEnv;
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::PROXY;
use test_support::scratch::Scratch;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};

/// Waits until CAS has received a request that it has not answered.
fn wait_until_asked(cas: &FaultyCas, before: usize) {
    assert!(wait_until(PATIENCE, || cas.requests().len() > before));
}

#[test]
fn sigterm_finishes_requests_in_progress_and_frees_the_socket() {
    let mut env = DaemonEnv::new("sigterm", &[("sasl_caspt_timeout", "10")]);
    let mux = env.daemon.mux().to_owned();
    env.cache_ticket("PT-1-known", "alice");
    env.cas.arm("PT-2-late", "alice", &[PROXY]);
    env.cas.set_delay(Duration::from_secs(2));
    let mark = env.mark();
    std::thread::scope(|scope| {
        let bytes = request(&["alice", "PT-2-late", "imap", ""]);
        let late = scope.spawn({
            let mux = mux.clone();
            move || ask(&mux, &bytes)
        });
        wait_until_asked(&env.cas, 1);
        env.daemon.signal(Signal::SIGTERM);
        env.wait_for_log(mark, &["finishing what is under way"]);
        // A client that connects now gets an error at once, or reaches the next daemon.
        assert!(wait_until(PATIENCE, || !mux.exists()));
        let mut next = Daemon::start(&env.scratch, &env.cyrus);
        std::mem::swap(&mut env.daemon, &mut next);
        assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
        assert!(next.running());
        let answer = late.join().expect("an answer");
        assert_eq!(answer.as_deref(), Some("OK"));
        assert_eq!(next.wait().code(), Some(0));
        assert_eq!(next.output(), "");
    });
    // The first daemon did not remove the socket of the next one, which removes its own.
    assert_eq!(env.ask("alice", "PT-2-late").as_deref(), Some("OK"));
    env.daemon.signal(Signal::SIGTERM);
    assert_eq!(env.daemon.wait().code(), Some(0));
    assert!(!mux.exists());
}

/// Sets these options in imapd.conf and makes the daemon reload it; returns the end of the log
/// before that.
fn set(env: &DaemonEnv, options: &[(&str, &str)]) -> usize {
    let path = env.cyrus.imapd_conf();
    let mut conf = fs::read_to_string(&path).expect("imapd.conf");
    for (option, value) in options {
        let start = format!("{option}: ");
        let others = conf.lines().filter(|line| !line.starts_with(&start));
        conf = others.map(|line| format!("{line}\n")).collect();
        conf.push_str(&format!("{start}{value}\n"));
    }
    fs::write(&path, conf).expect("imapd.conf");
    let mark = env.mark();
    env.daemon.signal(Signal::SIGHUP);
    mark
}

#[test]
fn sighup_applies_a_valid_configuration_and_keeps_sessions() {
    let env = DaemonEnv::new("sighup", &[]);
    env.cache_ticket("PT-1-known", "alice");

    // Each fault is logged, and no part of the new configuration takes effect.
    let stays = "sso: the old configuration stays: ";
    let portal = format!("{PROXY} https://portal.example/*");
    let saslauthd = env.fallback().display().to_string();
    let mark = set(
        &env,
        &[
            ("sasl_caspt_timeout", "never"),
            ("sasl_caspt_rate_limit", "none"),
            ("sasl_caspt_proxies", &portal),
            ("sasl_sso_fallback_socket", &saslauthd),
        ],
    );
    for option in ["sasl_caspt_timeout: ", "sasl_caspt_rate_limit: "] {
        let said = env.wait_for_log(mark, &[&format!("{stays}{option}")]);
        assert_eq!(said.level, level::ERR);
    }
    assert_eq!(env.ask("alice", "ordinary").as_deref(), Some("NO"));
    env.wait_for_log(mark, &["reason=no_credential"]);
    let asked = env.cas.requests().len();
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(env.cas.requests().len(), asked);
    assert_eq!(env.count(mark, "was read again"), 0);

    let again = "sso: the configuration was read again";
    let right = [("sasl_caspt_timeout", "2"), ("sasl_caspt_rate_limit", "50")];
    let mark = set(&env, &right);
    env.wait_for_log(mark, &[again]);
    assert_eq!(env.ask("alice", "ordinary"), None);
    env.wait_for_log(mark, &["reason=fallback_unusable"]);
    let chain = ["https://portal.example/pgt"];
    env.cas.arm("PT-2-portal", "alice", &chain);
    assert_eq!(env.ask("alice", "PT-2-portal").as_deref(), Some("OK"));

    // Sessions belong to the policy under which they were created, and are valid again when it is.
    let asked = env.cas.requests().len();
    let mark = set(&env, &[("sasl_caspt_proxies", PROXY)]);
    env.wait_for_log(mark, &[again]);
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(env.cas.requests().len(), asked);
    assert_eq!(env.ask("alice", "PT-2-portal").as_deref(), Some("NO"));
}

#[test]
fn reload_during_a_validation_keeps_its_old_configuration() {
    let env = DaemonEnv::new("reread", &[("sasl_caspt_timeout", "10")]);
    env.cas.arm("PT-1-late", "alice", &[PROXY]);
    env.cas.set_delay(Duration::from_millis(500));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| env.ask("alice", "PT-1-late"));
        wait_until_asked(&env.cas, 0);
        let mark = set(&env, &[("sasl_caspt_allow_direct", "yes")]);
        env.wait_for_log(mark, &["sso: the configuration was read again"]);
        let answer = late.join().expect("an answer");
        assert_eq!(answer.as_deref(), Some("OK"));
    });
}

/// Runs `sasl-sso serve` with these arguments, which must fail; returns its output.
fn refusal(env: &DaemonEnv, arguments: &[&str]) -> String {
    let mut command = daemon::command(&env.scratch, &env.cyrus.imapd_conf(), env.cyrus.log());
    command.args(arguments);
    let (success, said) = env.scratch.attempt("sasl-sso", command, "");
    assert!(!success, "{said}");
    said
}

#[test]
fn second_daemon_is_refused_and_the_first_keeps_serving() {
    let env = DaemonEnv::new("second", &[]);
    let mark = env.mark();
    let said = refusal(&env, &[]);
    let why = "is served by another sasl-sso; end that one first";
    assert!(said.contains(why), "{said}");
    env.wait_for_log(mark, &["sso: not serving: ", why]);
    env.cache_ticket("PT-1-still", "alice");
    // A file that is no socket is not replaced either.
    let file = env.scratch.join("daemon/file");
    fs::write(&file, "kept").expect("a file");
    let said = refusal(&env, &["--socket", &file.display().to_string()]);
    assert!(said.contains("is no socket"), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), b"kept");
}

/// Connects repeatedly; each result is whether the answer was right, or the error.
fn connect_repeatedly(mux: &Path, stopped: &AtomicBool) -> Vec<Result<bool, ErrorKind>> {
    let mut results = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let bytes = request(&["alice", "PT-1-known", "imap", ""]);
        results.push(match UnixStream::connect(mux) {
            Ok(mut stream) => {
                let _ = stream.write_all(&bytes);
                let mut answer = Vec::new();
                let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
                Ok(answer == b"\0\x02OK")
            }
            Err(error) => Err(error.kind()),
        });
    }
    results
}

#[test]
fn socket_of_a_killed_daemon_is_replaced_atomically() {
    let mut env = DaemonEnv::new("replaced", &[]);
    env.cache_ticket("PT-1-known", "alice");
    let mux = env.daemon.mux().to_owned();
    let stopped = AtomicBool::new(false);
    env.daemon.kill();
    assert!(
        fs::symlink_metadata(&mux)
            .expect("the old socket")
            .file_type()
            .is_socket()
    );
    let left = fs::symlink_metadata(&mux).expect("the old socket").ino();
    let results = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| connect_repeatedly(&mux, &stopped));
        env.start_again();
        std::thread::sleep(Duration::from_millis(300));
        stopped.store(true, Ordering::Relaxed);
        connecting.join().expect("the results")
    });
    assert_ne!(fs::symlink_metadata(&mux).expect("a socket").ino(), left);
    // First every connection is refused, then every one is answered: the socket always exists and
    // may always be used.
    let first = results.iter().position(Result::is_ok).expect("an answer");
    let (before, after) = results.split_at(first);
    assert!(
        before
            .iter()
            .all(|results| *results == Err(ErrorKind::ConnectionRefused))
    );
    assert!(!before.is_empty() && after.len() > 10);
    assert!(after.iter().all(|results| *results == Ok(true)));
}

/// The mode and the group of the socket.
fn mode_and_group(mux: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(mux).expect("a socket");
    (metadata.permissions().mode() & 0o7777, metadata.gid())
}

/// Starts a daemon at a socket of this name.
fn start(scratch: &Scratch, env: &DaemonEnv, name: &str, arguments: &[&str]) -> Daemon {
    let mux = daemon::mux(scratch).with_file_name(name);
    let mut command = daemon::command(scratch, &env.cyrus.imapd_conf(), env.cyrus.log());
    command.arg("--socket").arg(&mux).args(arguments);
    Daemon::start_with(scratch, &mux, command)
}

#[test]
fn socket_has_the_mode_and_group_that_are_configured() {
    let env = DaemonEnv::new("rights", &[]);
    let name = test_support::scratch::cyrus_user();
    let user = nix::unistd::User::from_name(&name).ok().flatten();
    let own = user.expect("a user").gid;
    let group = nix::unistd::Group::from_gid(own).ok().flatten();
    let group = group.expect("a group").name;
    // Like Debian's saslauthd: the socket belongs to the group sasl, if the user is a member.
    let (mode, gid) = mode_and_group(env.daemon.mux());
    let sasl = nix::unistd::Group::from_name("sasl").ok().flatten();
    let is_in_sasl = |sasl: &nix::unistd::Group| sasl.mem.contains(&name);
    let expected = sasl.filter(is_in_sasl).map_or(own, |sasl| sasl.gid);
    assert_eq!((mode, gid), (0o660, expected.as_raw()));
    let other = start(
        &env.scratch,
        &env,
        "other",
        &["--mode", "0600", "--group", &group],
    );
    assert_eq!(mode_and_group(other.mux()), (0o600, own.as_raw()));
    let open = start(&env.scratch, &env, "open", &["--mode", "666"]);
    assert_eq!(mode_and_group(open.mux()).0, 0o666);
    for arguments in [
        ["--mode", "0999"],
        ["--mode", "4755"],
        ["--group", "no-such-group"],
    ] {
        let said = refusal(&env, &arguments);
        assert!(said.contains(arguments[0]), "{said}");
    }
}
