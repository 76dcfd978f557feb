//! The daemon sends passwords to a saslauthd of root or of `sso_fallback_user` alone, at a socket
//! that nobody else can replace.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon_site::Site;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::relay::Relay;
use test_support::root_only::can_as_root;
use test_support::saslauthd;
use test_support::scratch::{Scratch, set_mode};
use test_support::syslog::level;
use test_support::wait::{STARTING, wait_until};

/// A user of the host who is neither root nor Cyrus'.
const OTHER_USER: &str = "daemon";
const OTHER_UID: u32 = 1;

const PASSWORD: &str = "ordinary s3cr3t";

/// A site whose `sso_fallback_socket` is this path below its directory.
fn site(name: &str, socket: &str) -> Site {
    let socket = format!("{{scratch}}/{socket}");
    Site::new(name, &[("sasl_sso_fallback_socket", &socket)])
}

fn is_taken(site: &Site) {
    let answer = site.ask("alice", PASSWORD).unwrap_or_default();
    // The stock one has more to say.
    assert!(
        answer.starts_with("OK"),
        "{answer}\n{}",
        site.cyrus.log().tail()
    );
}

/// The client hears of an outage; the log has the reason and the remedy.
fn is_refused(site: &Site, words: &[&str]) {
    let mark = site.mark();
    assert_eq!(site.ask("alice", PASSWORD), None, "{words:?}");
    let all = [&["reason=fallback_unusable", "; "], words].concat();
    assert_eq!(site.said(mark, &all).level, level::ERR);
}

#[test]
fn no_password_goes_to_a_socket_that_others_can_replace() {
    let site = site("way", "way/mux");
    let directory = site.scratch.create_dir("way");
    let saslauthd = site.scratch.join("saslauthd");
    let _behind = FaultySaslauthd::start(&saslauthd, Answer::Bytes(b"\0\x02OK".to_vec()));
    // Which tells what came, if anything did.
    let relay = Relay::start(&directory.join("mux"), &saslauthd);
    is_taken(&site);
    assert_eq!(relay.requests().len(), 1);
    for mode in [0o777, 0o775, 0o757, 0o2775] {
        set_mode(&directory, mode);
        let mode = format!(
            "{}: may be written by others (mode {mode:o})",
            directory.display()
        );
        is_refused(&site, &[&mode, "chmod go-w it"]);
    }
    // Nobody replaces the file of another one in such a directory.
    set_mode(&directory, 0o1777);
    is_taken(&site);
    set_mode(&directory, 0o755);
    if can_as_root() {
        chown(&directory, Some(OTHER_UID), None).expect("a directory of another user");
        is_refused(&site, &["belongs to uid 1", "chown it to root"]);
        chown(&directory, Some(0), None).expect("a directory of root");
    }
    is_taken(&site);
    assert_eq!(relay.requests().len(), 3);
}

#[test]
fn no_password_goes_through_a_link_that_others_can_turn() {
    let site = site("link", "short/mux");
    let [safe, open] = ["safe", "open"].map(|name| site.scratch.create_dir(name));
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&safe.join("mux"), answer);
    let short = site.scratch.join("short");
    let link = |to: &Path, at: &Path| {
        let _ = fs::remove_file(at);
        symlink(to, at).expect("a link");
    };
    link(&safe, &short);
    is_taken(&site);
    // One that leads through a directory that everybody may write.
    link(&safe, &open.join("on"));
    link(&open.join("on"), &short);
    set_mode(&open, 0o777);
    is_refused(&site, &["/open: may be written by others"]);
    set_mode(&open, 0o755);
    is_taken(&site);
    // The socket itself may be one, too.
    let mux = site.scratch.create_dir("other").join("mux");
    link(&safe.join("mux"), &mux);
    link(&site.scratch.join("other"), &short);
    is_taken(&site);
    if can_as_root() {
        lchown(&mux, Some(OTHER_UID), None).expect("a link of another user");
        is_refused(&site, &["/short/mux: belongs to uid 1"]);
    }
}

/// The stock saslauthd, as another user, in a directory of root's.
fn saslauthd_of(user: &str, scratch: &Scratch, cyrus: &Cyrus, directory: &Path) -> Command {
    let stock = saslauthd::command(scratch, cyrus, directory, &["-d", "-n", "1"]);
    let mut command = scratch.command("/usr/bin/setpriv");
    command.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
    ]);
    // Behind what the harness puts in front: the program itself.
    command.args(stock.get_args().skip(3));
    cyrus.log().attach(&mut command);
    command
}

#[test]
fn no_password_goes_to_a_process_of_another_user_unless_it_is_named() {
    if !can_as_root() {
        return;
    }
    let site = site("peer", "run/mux");
    let other = Scratch::new("behind");
    let behind = Cyrus::start(
        &other,
        &test_support::authority::Authority::new(),
        Options::default(),
    );
    behind.sasl_user("alice", PASSWORD);
    // Each user may make a socket in it, as in /tmp.
    let directory = site.scratch.create_dir("run");
    set_mode(&directory, 0o1777);
    let command = saslauthd_of(OTHER_USER, &site.scratch, &behind, &directory);
    let mut process = site.scratch.spawn("saslauthd", command);
    let mux = site.fallback().with_file_name("run").join("mux");
    let up = wait_until(STARTING, || UnixStream::connect(&mux).is_ok());
    assert!(up && process.running(), "{}", process.output());

    let asked = || behind.log().contains("alice");
    is_refused(&site, &["uid 1 listens there", "set sso_fallback_user"]);
    let reply = site.login("alice", PASSWORD);
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    assert!(!asked(), "{}", behind.log().tail());
    // Root's is always good enough; the one that is named as well.
    let conf = site.cyrus.imapd_conf();
    let text = fs::read_to_string(&conf).expect("imapd.conf");
    for (user, is_good) in [("nobody", false), (OTHER_USER, true)] {
        fs::write(&conf, format!("{text}sasl_sso_fallback_user: {user}\n")).expect("imapd.conf");
        let mark = site.mark();
        site.daemon.signal(Signal::SIGHUP);
        site.said(mark, &["sso: the configuration was read again"]);
        match is_good {
            true => is_taken(&site),
            false => is_refused(&site, &["uid 1 listens there"]),
        }
    }
    assert!(site.login("alice", PASSWORD).ok);
    // The directory may be that user's, too.
    set_mode(&directory, 0o755);
    chown(&directory, Some(OTHER_UID), None).expect("a directory of that user");
    is_taken(&site);
    let mark = site.mark();
    fs::write(&conf, format!("{text}sasl_sso_fallback_user: no-such\n")).expect("imapd.conf");
    site.daemon.signal(Signal::SIGHUP);
    let stays =
        "sso: the old configuration stays: sasl_sso_fallback_user: there is no user no-such";
    site.said(mark, &[stays]);
}
