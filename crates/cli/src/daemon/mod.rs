//! The daemon: saslauthd's protocol on a socket, for clients that can only send a password. A
//! ticket or a token in the target of the password is authenticated as in the plugin, with the same
//! session cache. Any other password goes to the host's own saslauthd.
//!
//! The thread that accepts connections answers cache hits. All other requests wait in one event
//! loop. Whatever asks an SSO server or writes to the session cache needs one of a limited number
//! of workers, and each name has a limited share of them.
//!
//! - `socket`: the sockets of the daemon
//! - `listener`: accepts connections
//! - `connection`: one connection, within limits
//! - `responder`: decides which component answers a request
//! - `validations`: validates credentials after a cache miss
//! - `single_flight`: validates equal credentials once
//! - `worker_pool`: workers, shared fairly between names
//! - `pending_limit`: limits the waiting requests of one name
//! - `fallback`: the host's own saslauthd
//! - `socket_io`: writes to a socket
//! - `log_writer`: the log

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
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

pub use fallback::Fallback;
pub use log_writer::AsyncLogger;
pub use socket::BindTarget;
use socket::Sockets;

use listener::Listener;
use responder::RequestHandler;
use sso_core::auth::Authenticator;
use sso_core::config::Config;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::log::{Level, Log};
use sso_core::policy::host_names::HostNames;
use sso_core::protocol::saslauthd::Request;

/// How long current requests may take when the daemon ends: longer than the deadlines of a
/// connection together (5 seconds to read, 60 to decide, 5 to answer), and less than the systemd
/// unit allows.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(71);

/// The settings of all services.
pub struct DaemonSettings {
    /// For services without settings of their own.
    pub general: Settings,
    /// For services with settings of their own, by their names for SASL in lower case.
    pub of_service: BTreeMap<String, Settings>,
}

/// The settings of one service.
pub struct Settings {
    /// The options of single sign-on.
    pub config: Config,
    /// The host's canonicalization of user names.
    pub names: HostNames,
    /// The name of the host, for the service names of tickets.
    pub host: String,
    /// The saslauthd for ordinary passwords.
    pub fallback: Option<Fallback>,
}

impl DaemonSettings {
    fn all(&self) -> impl Iterator<Item = &Settings> {
        std::iter::once(&self.general).chain(self.of_service.values())
    }
}

/// The active settings of all services. They share the session cache.
pub(crate) struct DaemonState {
    general: Arc<ServiceState>,
    of_service: BTreeMap<String, Arc<ServiceState>>,
}

impl DaemonState {
    /// Activates `settings`, with the session cache of `before`, if there is one: a process opens
    /// the cache once.
    fn new(settings: DaemonSettings, before: Option<&Self>) -> Self {
        let general = ServiceState::new(settings.general, before.map(|before| &*before.general));
        let of_service = settings.of_service.into_iter().map(|(name, settings)| {
            let service = ServiceState::new(settings, Some(&general));
            (name, Arc::new(service))
        });
        Self {
            of_service: of_service.collect(),
            general: Arc::new(general),
        }
    }

    /// The state for the service in `request`.
    fn for_request(&self, request: &Request<'_>) -> Arc<ServiceState> {
        let own = match self.of_service.is_empty() {
            true => None,
            false => request.service().ok(),
        };
        let own = own.and_then(|service| self.of_service.get(&service));
        Arc::clone(own.unwrap_or(&self.general))
    }

    /// Whether any service accepts credentials of the kind that `password` looks like.
    fn is_credential(&self, password: &[u8]) -> bool {
        let takes = |service: &Arc<ServiceState>| {
            service.authenticator.kind_of_password(password).is_some()
        };
        takes(&self.general) || self.of_service.values().any(takes)
    }
}

/// The active settings of one service.
pub(crate) struct ServiceState {
    authenticator: Authenticator,
    names: HostNames,
    host: String,
    fallback: Option<Fallback>,
    /// Limits the requests that poll the queue of the fallback.
    pollers: Semaphore,
}

impl ServiceState {
    /// Activates `settings`, with the session cache of `other`, if there is one.
    fn new(settings: Settings, other: Option<&Self>) -> Self {
        Self {
            authenticator: match other {
                Some(other) => other.authenticator.reconfigured(settings.config),
                None => Authenticator::new(settings.config, Arc::new(SystemClock)),
            },
            names: settings.names,
            host: settings.host,
            fallback: settings.fallback,
            pollers: Semaphore::new(fallback::MAX_POLLERS),
        }
    }
}

/// Serves at `target` until SIGTERM or SIGINT. At SIGHUP, `read` is called for new settings.
///
/// # Errors
/// Why the daemon cannot serve, with the remedy.
pub fn run(
    target: &BindTarget,
    settings: DaemonSettings,
    read: impl Fn() -> Result<DaemonSettings, Vec<String>> + Send + Sync + 'static,
    log: &AsyncLogger,
) -> Result<(), String> {
    raise_limits(log);
    log_panics(log.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One more thread reads the configuration.
        .max_blocking_threads(validations::MAX_WORKERS + responder::MAX_WRITERS + 1)
        .thread_name("sasl-sso worker")
        .build()
        .map_err(|error| format!("no event loop to be had: {error}"))?;
    let served = runtime.block_on(async {
        let sockets = target.open()?;
        serve(sockets, settings, Arc::new(read), log).await
    });
    // Everything that has a deadline has met it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(
    sockets: Sockets,
    settings: DaemonSettings,
    read: Arc<dyn Fn() -> Result<DaemonSettings, Vec<String>> + Send + Sync>,
    log: &AsyncLogger,
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
    if let Some(problem) = fallback_loop(&settings, &paths) {
        return Err(problem);
    }
    log_warnings(&settings, log);
    let handler = RequestHandler::new(DaemonState::new(settings, None), log.clone());
    let handler = Arc::new(handler.map_err(|failure| failure.to_string())?);
    let listener = Arc::new(Listener::new(Arc::clone(&handler), Handle::current()));
    let (end, until) = io::pipe().map_err(unheard)?;
    let mut threads = Vec::new();
    for socket in sockets.listeners()? {
        let until = end.try_clone().map_err(unheard)?;
        threads.push(listener.open(socket, until).map_err(unheard)?);
    }
    let reload_log = log.clone();
    tokio::spawn(async move {
        while reload.recv().await.is_some() {
            notify_systemd(&[NotifyState::Reloading]);
            let read = Arc::clone(&read);
            // Reading may block.
            if let Ok(settings) = spawn_blocking(move || read()).await {
                change(&handler, settings, &paths, &reload_log);
            }
            notify_systemd(&[NotifyState::Ready]);
        }
    });
    notify_systemd(&[NotifyState::Ready]);
    log.write(Level::Notice, "sso: ready for requests");

    ended.notified().await;
    notify_systemd(&[NotifyState::Stopping]);
    log.write(
        Level::Notice,
        "sso: told to end; finishing what is under way",
    );
    listener.close();
    drop(until);
    for thread in threads {
        // The thread accepts no connection any more, and waits for nothing.
        let _ = thread.join();
    }
    // New connections go to the next daemon.
    drop(sockets);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, listener.drained())
        .await
        .is_err()
    {
        let what = "sso: ended with requests still under way";
        log.write(Level::Error, what);
    }
    Ok(())
}

/// Logs the warnings about options, each once.
fn log_warnings(settings: &DaemonSettings, log: &AsyncLogger) {
    let mut lines: Vec<String> = settings
        .all()
        .flat_map(|settings| &settings.config.warnings)
        .map(|warning| format!("sso: {warning}"))
        .collect();
    lines.sort();
    lines.dedup();
    for line in lines {
        log.write(Level::Warning, &line);
    }
}

/// Activates new settings, or keeps the old ones if the new ones have faults.
fn change(
    handler: &RequestHandler,
    settings: Result<DaemonSettings, Vec<String>>,
    paths: &[PathBuf],
    log: &AsyncLogger,
) {
    let checked = settings.and_then(|settings| match fallback_loop(&settings, paths) {
        Some(problem) => Err(vec![problem]),
        None => Ok(settings),
    });
    match checked {
        Ok(settings) => {
            log_warnings(&settings, log);
            log.write(Level::Notice, handler.change(settings));
        }
        Err(faults) => {
            for fault in faults {
                let line = format!("sso: the old configuration stays: {fault}");
                log.write(Level::Error, &line);
            }
        }
    }
}

/// Notifies systemd, if there is one. Failures are ignored.
fn notify_systemd(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

/// The problem, if ordinary passwords would return to the daemon itself, whose socket may have
/// several names.
fn fallback_loop(settings: &DaemonSettings, paths: &[PathBuf]) -> Option<String> {
    let is_ours = |fallback: &Fallback| paths.iter().any(|path| same_file(path, &fallback.path));
    let what = "sso_fallback_socket: is our own socket; name that of the other saslauthd";
    let mut fallbacks = settings.all().flat_map(|settings| &settings.fallback);
    fallbacks.any(is_ours).then(|| what.to_owned())
}

/// Whether both paths lead, or would lead, to the same file.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    one == other || identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// Raises the limit of descriptors, because each connection needs one and one more if it is passed
/// on. Disables core dumps.
fn raise_limits(log: &AsyncLogger) {
    // Passwords are in memory.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(listener::MAX_DESCRIPTORS);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(soft.max(wanted))
    });
    let enough = raised.is_ok_and(|limit| limit >= listener::MAX_DESCRIPTORS);
    if !enough {
        let line = format!(
            "sso: fewer than {} files may be open at once; raise the limit (LimitNOFILE)",
            listener::MAX_DESCRIPTORS
        );
        log.write(Level::Warning, &line);
    }
}

/// Logs panics. A panic ends one connection. The log contains its location, and not its message,
/// which could contain a secret.
fn log_panics(log: AsyncLogger) {
    panic::set_hook(Box::new(move |info| {
        let target = info.location().map(ToString::to_string).unwrap_or_default();
        let line = format!("sso: internal error at {target}; please report it");
        log.write(Level::Error, &line);
    }));
}
