//! Started as systemd starts it: the socket is handed over, and is not the daemon's to remove.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use test_support::daemon::{self, ask, request};
use test_support::daemon_site::Site;
use test_support::process::Process;
use test_support::scratch::{Scratch, set_mode};
use test_support::wait::PATIENCE;

/// Its standard input becomes the first descriptor that systemd hands over.
const HAND_OVER: &str = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@""#;

/// What systemd is to a daemon.
struct Manager {
    listener: UnixListener,
    mux: PathBuf,
    told: UnixDatagram,
    notify: PathBuf,
}

impl Manager {
    fn new(scratch: &Scratch) -> Self {
        let [mux, notify] = ["given", "notify"].map(|name| scratch.join(name));
        let listener = UnixListener::bind(&mux).expect("a socket");
        let told = UnixDatagram::bind(&notify).expect("a socket");
        told.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        for path in [&mux, &notify] {
            set_mode(path, 0o666);
        }
        Self {
            listener,
            mux,
            told,
            notify,
        }
    }

    fn start(&self, site: &Site) -> Process {
        let shipped = daemon::command(&site.scratch, &site.cyrus.imapd_conf(), site.cyrus.log());
        let mut command = site.scratch.command("/bin/sh");
        command.args(["-c", HAND_OVER, "sh"]);
        // Behind what the harness puts in front: the program itself.
        command.args(shipped.get_args().skip(3));
        command
            .env("LISTEN_FDS", "1")
            .env("NOTIFY_SOCKET", &self.notify);
        site.cyrus.log().attach(&mut command);
        let socket = self.listener.try_clone().expect("a socket");
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(socket));
        site.scratch.spawn_with_input("sasl-sso", command, stdin)
    }

    /// The next that the daemon says about itself.
    fn hears(&self) -> String {
        let mut text = [0; 1024];
        let length = self.told.recv(&mut text).expect("a word of the daemon");
        String::from_utf8_lossy(&text[..length])
            .trim_end()
            .to_owned()
    }
}

fn known(mux: &Path) -> Option<String> {
    ask(mux, &request(&["alice", "PT-1-known", "imap", ""]))
}

#[test]
fn started_by_systemd_it_serves_the_given_socket_and_says_what_it_does() {
    let site = Site::new("systemd", &[]);
    site.know("PT-1-known", "alice");
    let manager = Manager::new(&site.scratch);
    let mut daemon = manager.start(&site);
    assert_eq!(manager.hears(), "READY=1", "{}", daemon.output());
    assert_eq!(known(&manager.mux).as_deref(), Some("OK"));
    // And no other one beside it, which the first daemon of the site would keep it from.
    assert!(daemon.running());

    daemon.signal(Signal::SIGHUP);
    assert_eq!(manager.hears(), "RELOADING=1");
    assert_eq!(manager.hears(), "READY=1");
    // What cannot be read is not a failure of the daemon's.
    let conf = site.cyrus.imapd_conf();
    let before = fs::read(&conf).expect("imapd.conf");
    fs::write(&conf, "sasl_caspt_url: nonsense\n").expect("imapd.conf");
    daemon.signal(Signal::SIGHUP);
    assert_eq!(manager.hears(), "RELOADING=1");
    assert_eq!(manager.hears(), "READY=1");
    fs::write(&conf, before).expect("imapd.conf");
    assert_eq!(known(&manager.mux).as_deref(), Some("OK"));

    daemon.signal(Signal::SIGTERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    let status = daemon.wait(PATIENCE).expect("its end");
    assert_eq!(status.code(), Some(0));
    assert!(manager.mux.exists());

    // Who comes meanwhile waits in systemd's queue, and the next one answers.
    let waiting = {
        let mux = manager.mux.clone();
        std::thread::spawn(move || known(&mux))
    };
    let daemon = manager.start(&site);
    assert_eq!(manager.hears(), "READY=1", "{}", daemon.output());
    assert_eq!(waiting.join().expect("an answer").as_deref(), Some("OK"));
}
