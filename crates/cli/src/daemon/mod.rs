//! The daemon: saslauthd's protocol on a socket, for logins that can only send a
//! password. A ticket or a token in its place is decided on as in the plugin,
//! with the same sessions; any other password goes on to the host's own
//! saslauthd.
//!
//! What is known is answered by the thread that takes connections. All others wait
//! in one event loop; whatever must ask an SSO server or write to the store has a
//! worker of a bounded number, of which one name has no more than its share.
//!
//! - `socket`: the sockets that are served
//! - `door`: who takes connections
//! - `connection`: one of them, with a bound on everything it may take
//! - `answer`: what is answered, and by whom: the desk, with the settings at work
//!   (the office)
//! - `validations`: of credentials that are not known
//! - `flights`: requests with the same credential are validated once
//! - `pool`: workers, shared fairly between names
//! - `waiting`: how many requests of one name may wait
//! - `fallback`: the host's own saslauthd
//! - `stream`: bytes over a socket
//! - `journal`: the lines for the administrator

#![forbid(unsafe_code)]

pub(crate) mod connection;
pub(crate) mod fallback;
pub(crate) mod listener;
pub(crate) mod log_writer;
pub(crate) mod pending_limit;
pub(crate) mod responder;
pub(crate) mod single_flight;
pub(crate) mod socket;
pub(crate) mod socket_io;
pub(crate) mod validations;
pub(crate) mod worker_pool;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

pub use fallback::Fallback;
pub use log_writer::Journal;
pub use socket::Place;
use socket::Sockets;

use listener::Door;
use responder::Desk;
use sso_core::auth::Authenticator;
use sso_core::config::Config;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::log::{Level, Log};
use sso_core::policy::host_names::HostNames;
use sso_core::protocol::saslauthd::Request;

/// How long what is under way may take when the daemon is told to end: longer than
/// a connection's deadlines together (5 seconds to read, 60 to decide, 5 to answer),
/// and less than its unit allows.
const GRACE: Duration = Duration::from_secs(71);

/// What the configuration files say, for each service that clients may name.
pub struct DaemonSettings {
    /// For all services that have no settings of their own.
    pub general: Settings,
    /// For those that have, by the name that they have for SASL, in lower case.
    pub of_service: BTreeMap<String, Settings>,
}

/// What the configuration files say for one service.
pub struct Settings {
    /// The options of single sign-on.
    pub config: Config,
    /// How the host application writes the names of its users.
    pub names: HostNames,
    /// The host's own name, for the services of tickets.
    pub host: String,
    /// Who checks ordinary passwords.
    pub fallback: Option<Fallback>,
}

impl DaemonSettings {
    fn all(&self) -> impl Iterator<Item = &Settings> {
        std::iter::once(&self.general).chain(self.of_service.values())
    }
}

/// The settings at work, for each service. They share the sessions.
pub(crate) struct Offices {
    general: Arc<Office>,
    of_service: BTreeMap<String, Arc<Office>>,
}

impl Offices {
    /// As `settings` say, with the sessions of those `before`, if there are any: a store
    /// is opened once in a process.
    fn new(settings: DaemonSettings, before: Option<&Self>) -> Self {
        let general = Office::new(settings.general, before.map(|before| &*before.general));
        let of_service = settings.of_service.into_iter().map(|(name, settings)| {
            let office = Office::new(settings, Some(&general));
            (name, Arc::new(office))
        });
        Self {
            of_service: of_service.collect(),
            general: Arc::new(general),
        }
    }

    /// The one for the service that `request` names.
    fn office_for(&self, request: &Request<'_>) -> Arc<Office> {
        let own = match self.of_service.is_empty() {
            true => None,
            false => request.service().ok(),
        };
        let own = own.and_then(|service| self.of_service.get(&service));
        Arc::clone(own.unwrap_or(&self.general))
    }

    /// Whether any service takes credentials of the kind that `password` is meant to be.
    fn is_credential(&self, password: &[u8]) -> bool {
        let takes =
            |office: &Arc<Office>| office.authenticator.kind_of_password(password).is_some();
        takes(&self.general) || self.of_service.values().any(takes)
    }
}

/// The settings of one service at work.
pub(crate) struct Office {
    authenticator: Authenticator,
    names: HostNames,
    host: String,
    fallback: Option<Fallback>,
}

impl Office {
    /// As `settings` say, with the sessions of the office `other`, if there is one.
    fn new(settings: Settings, other: Option<&Self>) -> Self {
        Self {
            authenticator: match other {
                Some(other) => other.authenticator.reconfigured(settings.config),
                None => Authenticator::new(settings.config, Arc::new(SystemClock)),
            },
            names: settings.names,
            host: settings.host,
            fallback: settings.fallback,
        }
    }
}

/// Serves at `place` until it is told to end by SIGTERM or SIGINT; at SIGHUP
/// `read` is asked for the settings again.
///
/// # Errors
/// What keeps it from serving, with the remedy.
pub fn run(
    place: &Place,
    settings: DaemonSettings,
    read: impl Fn() -> Result<DaemonSettings, Vec<String>> + Send + Sync + 'static,
    journal: &Journal,
) -> Result<(), String> {
    raise_limits(journal);
    complain_of_panics(journal.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One to read the configuration.
        .max_blocking_threads(validations::WORKERS + responder::WRITERS + 1)
        .thread_name("sasl-sso worker")
        .build()
        .map_err(|error| format!("no event loop to be had: {error}"))?;
    let served = runtime.block_on(async {
        let sockets = place.open()?;
        serve(sockets, settings, Arc::new(read), journal).await
    });
    // What has a deadline of its own has met it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(
    sockets: Sockets,
    settings: DaemonSettings,
    read: Arc<dyn Fn() -> Result<DaemonSettings, Vec<String>> + Send + Sync>,
    journal: &Journal,
) -> Result<(), String> {
    let unheard = |error: io::Error| format!("no signal, thread or pipe to be had: {error}");
    let ended = Arc::new(Notify::new());
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut ending = signal(kind).map_err(unheard)?;
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            ending.recv().await;
            ended.notify_one();
        });
    }
    let mut reload = signal(SignalKind::hangup()).map_err(unheard)?;

    let paths = sockets.paths();
    if let Some(problem) = asks_itself(&settings, &paths) {
        return Err(problem);
    }
    let desk = Desk::new(Offices::new(settings, None), journal.clone());
    let desk = Arc::new(desk.map_err(|failure| failure.to_string())?);
    let door = Arc::new(Door::new(Arc::clone(&desk), Handle::current()));
    let (end, until) = io::pipe().map_err(unheard)?;
    let mut doors = Vec::new();
    for listener in sockets.listeners()? {
        let until = end.try_clone().map_err(unheard)?;
        doors.push(door.open(listener, until).map_err(unheard)?);
    }
    let journal_of_reload = journal.clone();
    tokio::spawn(async move {
        while reload.recv().await.is_some() {
            tell(&[NotifyState::Reloading]);
            let read = Arc::clone(&read);
            // Reading may take its time.
            if let Ok(settings) = spawn_blocking(move || read()).await {
                change(&desk, settings, &paths, &journal_of_reload);
            }
            tell(&[NotifyState::Ready]);
        }
    });
    tell(&[NotifyState::Ready]);
    journal.write(Level::Notice, "sso: ready for requests");

    ended.notified().await;
    tell(&[NotifyState::Stopping]);
    journal.write(
        Level::Notice,
        "sso: told to end; finishing what is under way",
    );
    door.close();
    drop(until);
    for door in doors {
        // It takes none any more, and waits for nothing.
        let _ = door.join();
    }
    // Who comes now is to go to the next one.
    drop(sockets);
    if tokio::time::timeout(GRACE, door.all_gone()).await.is_err() {
        let what = "sso: ended with requests still under way";
        journal.write(Level::Error, what);
    }
    Ok(())
}

/// Goes on as the settings say that were read again, or as before if they are wrong.
fn change(
    desk: &Desk,
    settings: Result<DaemonSettings, Vec<String>>,
    paths: &[PathBuf],
    journal: &Journal,
) {
    let checked = settings.and_then(|settings| match asks_itself(&settings, paths) {
        Some(problem) => Err(vec![problem]),
        None => Ok(settings),
    });
    match checked {
        Ok(settings) => journal.write(Level::Notice, desk.change(settings)),
        Err(faults) => {
            for fault in faults {
                let line = format!("sso: the old configuration stays: {fault}");
                journal.write(Level::Error, &line);
            }
        }
    }
}

/// Tells systemd, if there is one to tell. That it does not hear changes nothing.
fn tell(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

/// What is wrong if ordinary passwords would come back to where they came from: that
/// may be known by other names, too.
fn asks_itself(settings: &DaemonSettings, paths: &[PathBuf]) -> Option<String> {
    let is_ours = |fallback: &Fallback| paths.iter().any(|path| same_file(path, &fallback.path));
    let what = "sso_fallback_socket: is our own socket; name that of the other saslauthd";
    let mut fallbacks = settings.all().flat_map(|settings| &settings.fallback);
    fallbacks.any(is_ours).then(|| what.to_owned())
}

/// Whether both paths lead, or would lead, to one file.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    one == other || identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// Takes as many descriptors as there are to be had: each connection needs one, and
/// one that is passed on another. And leaves no core behind.
fn raise_limits(journal: &Journal) {
    // Passwords are in its memory.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(listener::DESCRIPTORS);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(soft.max(wanted))
    });
    let enough = raised.is_ok_and(|limit| limit >= listener::DESCRIPTORS);
    if !enough {
        let line = format!(
            "sso: fewer than {} files may be open at once; raise the limit (LimitNOFILE)",
            listener::DESCRIPTORS
        );
        journal.write(Level::Warning, &line);
    }
}

/// A panic ends one connection and nothing else; its place goes in the log, its
/// message, which may hold anything, does not.
fn complain_of_panics(journal: Journal) {
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let line = format!("sso: internal error at {place}; please report it");
        journal.write(Level::Error, &line);
    }));
}
