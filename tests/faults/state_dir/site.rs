//! A site whose host is the user of the mail system, as imapd is, with a CAS that counts.

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

/// A scratch directory with a kit and a CAS. Plain http: to ask it takes so little time that the
/// store is what a login waits for.
pub struct Site {
    pub kit: Kit,
    pub cas: FaultyCas,
    options: Vec<(String, String)>,
    state: PathBuf,
    pub scratch: Scratch,
}

/// One row of the table of faults: what was done and how often, what users saw, what was lost.
pub fn print_row(fault: &str, times: usize, seen: &str, lost: &str) {
    println!("| {fault} | {times} | {seen} | {lost} |");
}

/// What is to be said of logins that could not be told to others, if there were any.
pub fn when_alone(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("; {count} could not tell the others, so busy was the machine"),
    }
}

/// The user of the mail system, if we may become that.
fn mail_user() -> Option<User> {
    let user = || User::from_name("cyrus").ok().flatten();
    geteuid().is_root().then(|| user().expect("the user cyrus"))
}

/// As whom the host runs.
pub fn uid_of_host() -> Uid {
    mail_user().map_or(geteuid(), |user| user.uid)
}

/// What a program is started under to run as that user.
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
    /// A site of that name with a state directory that is still to be made.
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

    /// The directory in which the state directory is; both are the host's own.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.join("run")
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.state.clone()
    }

    /// From now on another one, which is still to be made.
    pub fn move_state_to(&mut self, name: &str) {
        self.state = self.run_dir().join(name);
        self.set("sso_state_dir", &self.state.display().to_string());
    }

    /// Sets an option of the site.
    pub fn set(&mut self, option: &str, value: &str) {
        self.options.retain(|(name, _)| name != option);
        self.options.push((option.to_owned(), value.to_owned()));
    }

    /// A process of the host.
    pub fn driver(&self) -> Driver {
        self.driver_under(&[])
    }

    /// The same, started under another program.
    pub fn driver_under(&self, wrapper: &[String]) -> Driver {
        self.driver_at(&self.state, wrapper)
    }

    /// The same with another state directory.
    pub fn driver_at(&self, state: &Path, wrapper: &[String]) -> Driver {
        let words = [wrapper, &as_mail_user()].concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let state = state.display().to_string();
        let options = [("sso_state_dir", state.as_str())];
        self.kit
            .driver_of(&self.scratch, &words, &self.options, &options)
    }

    /// Makes a ticket good, once.
    pub fn arm(&self, ticket: &str, user: &str) {
        self.cas.arm(ticket, user, &[PROXY]);
    }

    /// How often CAS was asked about a ticket.
    pub fn asked(&self, ticket: &str) -> usize {
        self.cas.answers_about(ticket).len()
    }

    /// Whether CAS said that a ticket is good.
    pub fn is_told_yes(&self, ticket: &str) -> bool {
        let answers = self.cas.answers_about(ticket);
        answers.iter().any(|answer| answer.is_yes)
    }

    /// What `sasl-sso sessions` says to this; it must succeed, if need be when others let it.
    pub fn sessions(&self, arguments: &[&str]) -> String {
        let conf = imapd_conf(&self.scratch, &self.options);
        let conf = conf.display().to_string();
        let arguments = [&["sessions"], arguments, &["--config", &conf]].concat();
        let mut tries = 0;
        loop {
            let (status, said, complaint) = sasl_sso(&arguments);
            if status == Some(0) {
                return said;
            }
            tries += 1;
            let is_busy = complaint.contains("another process is busy with it");
            assert!(is_busy && tries < 20, "{arguments:?}: {complaint}");
        }
    }

    /// The same as JSON.
    pub fn sessions_json(&self, command: &str) -> Value {
        serde_json::from_str(&self.sessions(&[command, "--json"])).expect("JSON")
    }

    /// How much the file of the sessions takes, in bytes.
    pub fn store_size(&self) -> u64 {
        let entries = std::fs::read_dir(&self.state).expect("the state directory");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let store = paths.find(|path| path.extension().is_some_and(|suffix| suffix == "mdb"));
        let store = store.expect("the file of the sessions").metadata();
        // It is as long as it may become from the start.
        store.expect("its size").blocks() * 512
    }

    /// Whether the processes of the host share what they know again, which they find out by
    /// themselves.
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

/// Where an answer came from, by the line in the log.
pub fn source(answer: &Answer) -> String {
    answer.field("source").unwrap_or_default()
}

/// The lines of the log that are about anything else than the decision on a login.
pub fn complaints(answer: &Answer) -> Vec<String> {
    let texts = answer.log.iter().map(|(_, text)| text);
    let ours = texts.filter(|text| text.starts_with("sso: ") && !text.starts_with("sso: mech="));
    ours.cloned().collect()
}

/// Makes a directory that is the host's own.
pub fn make_own(scratch: &Scratch, directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    scratch.give_to_cyrus(directory);
    set_mode(directory, 0o700);
}

/// Whose sessions are listed.
pub fn listed_users(site: &Site) -> HashSet<String> {
    let sessions = site.sessions_json("list");
    let sessions = sessions.as_array().expect("an array").iter();
    let users = sessions.filter_map(|session| Some(session["user"].as_str()?.to_owned()));
    users.collect()
}

/// Checks that nobody holds a lock, while nobody has anything to do.
pub fn check_locks(state: &Path) {
    lock(&state.join("locks"), 0, 0);
}
