//! The daemon sends passwords only to a saslauthd that runs as root or as `sso_fallback_user`, at a
//! socket that no other user can replace.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon_site::DaemonEnv;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::relay::Relay;
use test_support::root_only::can_as_root;
use test_support::saslauthd;
use test_support::scratch::{Scratch, set_mode};
use test_support::syslog::level;
use test_support::wait::{STARTING, wait_until};

/// A user of the host who is neither root nor the user of Cyrus.
const OTHER_USER: &str = "daemon";
const OTHER_UID: u32 = 1;

const PASSWORD: &str = "ordinary s3cr3t";

/// Starts an environment whose `sso_fallback_socket` is this path below the scratch directory.
fn start_env(name: &str, socket: &str) -> DaemonEnv {
    let socket = format!("{{scratch}}/{socket}");
    DaemonEnv::new(name, &[("sasl_sso_fallback_socket", &socket)])
}

fn assert_accepted(env: &DaemonEnv) {
    let answer = env.ask("alice", PASSWORD).unwrap_or_default();
    // The stock saslauthd appends a text to its answer.
    assert!(
        answer.starts_with("OK"),
        "{answer}\n{}",
        env.cyrus.log().tail()
    );
}

/// The client receives no answer, which is an outage. The log contains the reason and the remedy.
fn assert_refused(env: &DaemonEnv, words: &[&str]) {
    let mark = env.mark();
    assert_eq!(env.ask("alice", PASSWORD), None, "{words:?}");
    let all = [&["reason=fallback_unusable", "; "], words].concat();
    assert_eq!(env.wait_for_log(mark, &all).level, level::ERR);
}

#[test]
fn password_is_not_sent_to_a_socket_that_others_can_replace() {
    let env = start_env("way", "way/mux");
    let directory = env.scratch.create_dir("way");
    let saslauthd = env.scratch.join("saslauthd");
    let _saslauthd = FaultySaslauthd::start(&saslauthd, Answer::Bytes(b"\0\x02OK".to_vec()));
    // The relay records the requests.
    let relay = Relay::start(&directory.join("mux"), &saslauthd);
    assert_accepted(&env);
    assert_eq!(relay.requests().len(), 1);
    for mode in [0o777, 0o775, 0o757, 0o2775] {
        set_mode(&directory, mode);
        let mode = format!(
            "{}: may be written by others (mode {mode:o})",
            directory.display()
        );
        assert_refused(&env, &[&mode, "chmod go-w it"]);
    }
    // In a directory with the sticky bit, users cannot replace the files of others.
    set_mode(&directory, 0o1777);
    assert_accepted(&env);
    set_mode(&directory, 0o755);
    if can_as_root() {
        chown(&directory, Some(OTHER_UID), None).expect("cannot change the owner");
        assert_refused(&env, &["belongs to uid 1", "chown it to root"]);
        chown(&directory, Some(0), None).expect("cannot change the owner");
    }
    assert_accepted(&env);
    assert_eq!(relay.requests().len(), 3);
}

#[test]
fn password_is_not_sent_through_a_link_that_others_can_replace() {
    let env = start_env("link", "short/mux");
    let [safe, open] = ["safe", "open"].map(|name| env.scratch.create_dir(name));
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&safe.join("mux"), answer);
    let short = env.scratch.join("short");
    let link = |to: &Path, at: &Path| {
        let _ = fs::remove_file(at);
        symlink(to, at).expect("cannot create the link");
    };
    link(&safe, &short);
    assert_accepted(&env);
    // This link leads through a directory that everybody may write.
    link(&safe, &open.join("on"));
    link(&open.join("on"), &short);
    set_mode(&open, 0o777);
    assert_refused(&env, &["/open: may be written by others"]);
    set_mode(&open, 0o755);
    assert_accepted(&env);
    // The socket itself may be a link, too.
    let mux = env.scratch.create_dir("other").join("mux");
    link(&safe.join("mux"), &mux);
    link(&env.scratch.join("other"), &short);
    assert_accepted(&env);
    if can_as_root() {
        lchown(&mux, Some(OTHER_UID), None).expect("cannot change the owner");
        assert_refused(&env, &["/short/mux: belongs to uid 1"]);
    }
}

/// Returns a command for the stock saslauthd as another user.
fn saslauthd_of(user: &str, scratch: &Scratch, cyrus: &Cyrus, directory: &Path) -> Command {
    let stock = saslauthd::command(scratch, cyrus, directory, &["-d", "-n", "1"]);
    let mut command = scratch.command("/usr/bin/setpriv");
    command.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
    ]);
    // The harness puts three arguments in front of the program.
    command.args(stock.get_args().skip(3));
    cyrus.log().attach(&mut command);
    command
}

#[test]
fn password_is_sent_to_a_process_of_another_user_only_if_configured() {
    if !can_as_root() {
        return;
    }
    let env = start_env("peer", "run/mux");
    let other = Scratch::new("fallback");
    let fallback_cyrus = Cyrus::start(
        &other,
        &test_support::authority::Authority::new(),
        Options::default(),
    );
    fallback_cyrus.sasl_user("alice", PASSWORD);
    // Every user may create a socket in this directory, as in /tmp.
    let directory = env.scratch.create_dir("run");
    set_mode(&directory, 0o1777);
    let command = saslauthd_of(OTHER_USER, &env.scratch, &fallback_cyrus, &directory);
    let mut process = env.scratch.spawn("saslauthd", command);
    let mux = env.fallback().with_file_name("run").join("mux");
    let up = wait_until(STARTING, || UnixStream::connect(&mux).is_ok());
    assert!(up && process.running(), "{}", process.output());

    let was_asked = || fallback_cyrus.log().contains("alice");
    assert_refused(&env, &["uid 1 listens there", "set sso_fallback_user"]);
    let reply = env.login("alice", PASSWORD);
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    assert!(!was_asked(), "{}", fallback_cyrus.log().tail());
    // A saslauthd that runs as root is always accepted, and one that runs as the configured user.
    let conf = env.cyrus.imapd_conf();
    let text = fs::read_to_string(&conf).expect("cannot access imapd.conf");
    for (user, is_accepted) in [("nobody", false), (OTHER_USER, true)] {
        fs::write(&conf, format!("{text}sasl_sso_fallback_user: {user}\n"))
            .expect("cannot access imapd.conf");
        let mark = env.mark();
        env.daemon.signal(Signal::SIGHUP);
        env.wait_for_log(mark, &["sso: the configuration was read again"]);
        match is_accepted {
            true => assert_accepted(&env),
            false => assert_refused(&env, &["uid 1 listens there"]),
        }
    }
    assert!(env.login("alice", PASSWORD).ok);
    // The directory may also belong to the configured user.
    set_mode(&directory, 0o755);
    chown(&directory, Some(OTHER_UID), None).expect("cannot change the owner");
    assert_accepted(&env);
    let mark = env.mark();
    fs::write(&conf, format!("{text}sasl_sso_fallback_user: no-such\n"))
        .expect("cannot access imapd.conf");
    env.daemon.signal(Signal::SIGHUP);
    let stays =
        "sso: the old configuration stays: sasl_sso_fallback_user: there is no user no-such";
    env.wait_for_log(mark, &[stays]);
}
