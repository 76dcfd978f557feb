//! The daemon under systemd: it gets its socket passed in, and must not remove it.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use test_support::daemon::{self, ask, request};
use test_support::daemon_site::DaemonEnv;
use test_support::process::Process;
use test_support::scratch::{Scratch, set_mode};
use test_support::wait::PATIENCE;

/// The shell's standard input becomes the first descriptor passed by systemd.
const HAND_OVER: &str = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@""#;

/// The part of systemd: it passes the socket and receives notifications.
struct Manager {
    listener: UnixListener,
    mux: PathBuf,
    notifications: UnixDatagram,
    notify: PathBuf,
}

impl Manager {
    fn new(scratch: &Scratch) -> Self {
        let [mux, notify] = ["given", "notify"].map(|name| scratch.join(name));
        let listener = UnixListener::bind(&mux).expect("a socket");
        let notifications = UnixDatagram::bind(&notify).expect("a socket");
        notifications
            .set_read_timeout(Some(PATIENCE))
            .expect("a time-out");
        for path in [&mux, &notify] {
            set_mode(path, 0o666);
        }
        Self {
            listener,
            mux,
            notifications,
            notify,
        }
    }

    fn start(&self, env: &DaemonEnv) -> Process {
        let shipped = daemon::command(&env.scratch, &env.cyrus.imapd_conf(), env.cyrus.log());
        let mut command = env.scratch.command("/bin/sh");
        command.args(["-c", HAND_OVER, "sh"]);
        // The program and its arguments, without the wrapper that the harness adds.
        command.args(shipped.get_args().skip(3));
        command
            .env("LISTEN_FDS", "1")
            .env("NOTIFY_SOCKET", &self.notify);
        env.cyrus.log().attach(&mut command);
        let socket = self.listener.try_clone().expect("a socket");
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(socket));
        env.scratch.spawn_with_input("sasl-sso", command, stdin)
    }

    /// The next notification of the daemon.
    fn next_notification(&self) -> String {
        let mut text = [0; 1024];
        let length = self
            .notifications
            .recv(&mut text)
            .expect("a notification of the daemon");
        String::from_utf8_lossy(&text[..length])
            .trim_end()
            .to_owned()
    }
}

fn ask_cached(mux: &Path) -> Option<String> {
    ask(mux, &request(&["alice", "PT-1-known", "imap", ""]))
}

#[test]
fn daemon_under_systemd_serves_the_passed_socket_and_notifies_its_state() {
    let env = DaemonEnv::new("systemd", &[]);
    env.cache_ticket("PT-1-known", "alice");
    let manager = Manager::new(&env.scratch);
    let mut daemon = manager.start(&env);
    assert_eq!(
        manager.next_notification(),
        "READY=1",
        "{}",
        daemon.output()
    );
    assert_eq!(ask_cached(&manager.mux).as_deref(), Some("OK"));
    // The daemon serves no second socket; the first daemon of the environment would prevent that.
    assert!(daemon.running());

    daemon.signal(Signal::SIGHUP);
    assert_eq!(manager.next_notification(), "RELOADING=1");
    assert_eq!(manager.next_notification(), "READY=1");
    // An unreadable configuration does not end the daemon.
    let conf = env.cyrus.imapd_conf();
    let before = fs::read(&conf).expect("imapd.conf");
    fs::write(&conf, "sasl_caspt_url: nonsense\n").expect("imapd.conf");
    daemon.signal(Signal::SIGHUP);
    assert_eq!(manager.next_notification(), "RELOADING=1");
    assert_eq!(manager.next_notification(), "READY=1");
    fs::write(&conf, before).expect("imapd.conf");
    assert_eq!(ask_cached(&manager.mux).as_deref(), Some("OK"));

    daemon.signal(Signal::SIGTERM);
    assert_eq!(manager.next_notification(), "STOPPING=1");
    let status = daemon.wait(PATIENCE).expect("the end of the daemon");
    assert_eq!(status.code(), Some(0));
    assert!(manager.mux.exists());

    // Meanwhile a new connection waits in the queue of systemd's socket, and the next daemon
    // answers it.
    let waiting = {
        let mux = manager.mux.clone();
        std::thread::spawn(move || ask_cached(&mux))
    };
    let daemon = manager.start(&env);
    assert_eq!(
        manager.next_notification(),
        "READY=1",
        "{}",
        daemon.output()
    );
    assert_eq!(waiting.join().expect("an answer").as_deref(), Some("OK"));
}
