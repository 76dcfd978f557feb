//! A test environment whose driver runs as the user of the mail system, like imapd, with a CAS
//! server that counts requests.

use nix::unistd::{Uid, User, geteuid};
use serde_json::Value;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::{PROXY, imapd_conf};
use test_support::libsasl2::{Answer, Driver, Kit, code, sasl_sso};
use test_support::lock_file::lock;
use test_support::scratch::{Scratch, set_mode};
use test_support::wait::{PATIENCE, wait_until};

/// A scratch directory with a kit and a CAS server. The server uses plain HTTP, which takes so
/// little time that logins mostly wait for the store.
pub struct Site {
    pub kit: Kit,
    pub cas: FaultyCas,
    options: Vec<(String, String)>,
    state: PathBuf,
    pub scratch: Scratch,
}

/// Prints a row of the table of faults: the fault, how often it occurred, what users noticed, what
/// was lost.
pub fn print_row(fault: &str, times: usize, seen: &str, lost: &str) {
    println!("| {fault} | {times} | {seen} | {lost} |");
}

/// A remark about logins that could not be written to the host tier, if there were any.
pub fn when_alone(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("; {count} could not tell the others, so busy was the machine"),
    }
}

/// The user of the mail system, if we are root and can change to it.
fn mail_user() -> Option<User> {
    let user = || User::from_name("cyrus").ok().flatten();
    geteuid().is_root().then(|| user().expect("the user cyrus"))
}

/// The user ID of the driver processes.
pub fn uid_of_host() -> Uid {
    mail_user().map_or(geteuid(), |user| user.uid)
}

/// The command prefix under which a program runs as that user.
pub fn as_mail_user() -> Vec<String> {
    let Some(user) = mail_user() else {
        return Vec::new();
    };
    let (uid, gid) = (user.uid, user.gid);
    vec![
        "setpriv".to_owned(),
        format!("--reuid={uid}"),
        format!("--regid={gid}"),
        "--clear-groups".to_owned(),
    ]
}

impl Site {
    /// Creates an environment with this name; its state directory does not exist yet.
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let run = scratch.create_dir("run");
        scratch.give_to_cyrus(&run);
        let cas = FaultyCas::start_plain();
        let options = [
            ("caspt_url", cas.url()),
            ("caspt_proxies", PROXY.to_owned()),
            // The machine may be busy.
            ("caspt_timeout", "30".to_owned()),
            ("caspt_rate_limit", "60000".to_owned()),
            ("sso_state_dir", run.join("state").display().to_string()),
        ];
        Self {
            kit: Kit::new(&scratch),
            cas,
            options: options
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            state: run.join("state"),
            scratch,
        }
    }

    /// The parent of the state directory; both belong to the user of the drivers.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.join("run")
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.state.clone()
    }

    /// Uses another state directory, which does not exist yet.
    pub fn move_state_to(&mut self, name: &str) {
        self.state = self.run_dir().join(name);
        self.set("sso_state_dir", &self.state.display().to_string());
    }

    /// Sets an option.
    pub fn set(&mut self, option: &str, value: &str) {
        self.options.retain(|(name, _)| name != option);
        self.options.push((option.to_owned(), value.to_owned()));
    }

    /// Starts a driver process.
    pub fn driver(&self) -> Driver {
        self.driver_under(&[])
    }

    /// Starts a driver under this command prefix.
    pub fn driver_under(&self, wrapper: &[String]) -> Driver {
        self.driver_at(&self.state, wrapper)
    }

    /// Starts a driver under this command prefix with another state directory.
    pub fn driver_at(&self, state: &Path, wrapper: &[String]) -> Driver {
        let words = [wrapper, &as_mail_user()].concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let state = state.display().to_string();
        let options = [("sso_state_dir", state.as_str())];
        self.kit
            .driver_of(&self.scratch, &words, &self.options, &options)
    }

    /// Makes CAS accept a ticket once.
    pub fn arm(&self, ticket: &str, user: &str) {
        self.cas.arm(ticket, user, &[PROXY]);
    }

    /// How often CAS was asked about a ticket.
    pub fn asked(&self, ticket: &str) -> usize {
        self.cas.answers_about(ticket).len()
    }

    /// Whether CAS accepted a ticket.
    pub fn is_accepted_by_cas(&self, ticket: &str) -> bool {
        let answers = self.cas.answers_about(ticket);
        answers.iter().any(|answer| answer.is_yes)
    }

    /// The output of `sasl-sso sessions` with these arguments, retried while the store is busy.
    pub fn sessions(&self, arguments: &[&str]) -> String {
        let conf = imapd_conf(&self.scratch, &self.options);
        let conf = conf.display().to_string();
        let arguments = [&["sessions"], arguments, &["--config", &conf]].concat();
        let mut tries = 0;
        loop {
            let (status, output, error) = sasl_sso(&arguments);
            if status == Some(0) {
                return output;
            }
            tries += 1;
            let is_busy = error.contains("another process is busy with it");
            assert!(is_busy && tries < 20, "{arguments:?}: {error}");
        }
    }

    /// The output of a `sasl-sso sessions` command as JSON.
    pub fn sessions_json(&self, command: &str) -> Value {
        serde_json::from_str(&self.sessions(&[command, "--json"])).expect("JSON")
    }

    /// Disk usage of the session file in bytes.
    pub fn store_size(&self) -> u64 {
        let entries = std::fs::read_dir(&self.state).expect("the state directory");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let store = paths.find(|path| path.extension().is_some_and(|suffix| suffix == "mdb"));
        let store = store.expect("the file of the sessions").metadata();
        // The file has its maximum length from the beginning, so blocks are counted.
        store.expect("its size").blocks() * 512
    }

    /// Waits until the two processes share sessions again, which they notice by themselves.
    pub fn is_shared(&self, one: &mut Driver, other: &mut Driver) -> bool {
        let mut number = 0;
        wait_until(PATIENCE, || {
            number += 1;
            let ticket = format!("PT-{number}-shared-by-{}", one.pid());
            self.arm(&ticket, "probe");
            assert_eq!(one.ticket(&ticket).code(), code::OK);
            std::thread::sleep(std::time::Duration::from_millis(100));
            let answer = other.ticket(&ticket);
            answer.code() == code::OK && source(&answer) == "host"
        })
    }
}

/// The source of a decision, from the log line.
pub fn source(answer: &Answer) -> String {
    answer.field("source").unwrap_or_default()
}

/// The log lines of the plugin other than the decisions on logins.
pub fn complaints(answer: &Answer) -> Vec<String> {
    let texts = answer.log.iter().map(|(_, text)| text);
    let ours = texts.filter(|text| text.starts_with("sso: ") && !text.starts_with("sso: mech="));
    ours.cloned().collect()
}

/// Creates a directory that belongs to the user of the drivers.
pub fn make_own(scratch: &Scratch, directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    scratch.give_to_cyrus(directory);
    set_mode(directory, 0o700);
}

/// The users whose sessions are listed.
pub fn listed_users(site: &Site) -> HashSet<String> {
    let sessions = site.sessions_json("list");
    let sessions = sessions.as_array().expect("an array").iter();
    let users = sessions.filter_map(|session| Some(session["user"].as_str()?.to_owned()));
    users.collect()
}

/// Checks that no process holds a lock. No login may be in progress.
pub fn check_locks(state: &Path) {
    lock(&state.join("locks"), 0, 0);
}
