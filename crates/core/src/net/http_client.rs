//! HTTPS requests to an SSO server, each with one deadline, without side effects on the host's
//! process. This is the only file that names reqwest.
//!
//! Each request runs in a thread of its own, which ends with the request. The caller waits for the
//! thread and can give up early. Because no thread outlives its request, the host may fork between
//! logins. (The exception is a resolver that hangs: no time-out can stop it, and its thread
//! remains.) All signals are blocked in these threads, so that the host's own thread receives them.
//! No connection is kept: processes of imapd live too briefly to profit, and a kept connection that
//! the server closes while a ticket is written to it would cost the ticket.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use parking_lot::Mutex;
use url::Url;

use crate::error::{Failure, Reason};
use crate::net::tls_trust;
use crate::platform::deadline::Deadline;
use crate::platform::descriptors;
use crate::platform::zeroizing_alloc::wipe_stack;

/// How often a waiting caller checks whether its host wants to end.
const INTERRUPT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The number of descriptors that must be free for a request, with a margin: tokio panics without
/// descriptors, and a resolver reports an unknown name.
const MIN_FREE_DESCRIPTORS: usize = 12;

/// A server's answer.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body, up to the requested maximum.
    pub body: Vec<u8>,
    /// The server's certificate in DER, if the request used TLS.
    pub certificate: Option<Vec<u8>>,
}

/// Why there is no answer, and whether another server may be asked.
#[derive(Debug)]
pub struct Error {
    /// The cause.
    pub failure: Failure,
    /// Whether it is certain that the server has read nothing of the request.
    pub nothing_written: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            nothing_written: false,
        }
    }
}

/// A client with a set of trusted CAs.
#[derive(Debug)]
pub struct Client {
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
    /// The client, created by the first request: the roots are not read before that.
    made: Mutex<Option<reqwest::Client>>,
}

impl Client {
    /// Creates a client. `ca_file` replaces the system's roots; `connect_timeout` limits connecting
    /// and the TLS handshake.
    pub fn new(ca_file: Option<PathBuf>, connect_timeout: Duration) -> Self {
        Self {
            ca_file,
            connect_timeout,
            made: Mutex::new(None),
        }
    }

    /// Gets `url`, and at most `longest` bytes of its body. Redirects are answers like any other
    /// and are never followed.
    ///
    /// # Errors
    /// Why there is no answer, by the deadline at the latest.
    pub fn get(
        &self,
        url: Url,
        longest: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Response, Error> {
        let end = tokio::time::Instant::from_std(deadline.end());
        let server = origin(&url);
        if !descriptors::are_left(MIN_FREE_DESCRIPTORS) {
            let what = "too few descriptors are left for a request";
            return Err(not_written(Reason::ProcessExhausted, what.to_owned()));
        }
        let client = self.client()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        spawn(move || {
            let answer = block_on(async {
                let late = || Failure::new(Reason::ServerTimeout, "").into();
                tokio::time::timeout_at(end, exchange(&client, url, longest))
                    .await
                    .unwrap_or_else(|_| Err(late()))
            });
            // Nobody receives the answer if the caller has given up.
            let _ = sender.send(answer);
        })?;
        let answer = loop {
            let left = deadline.remaining()?;
            match receiver.recv_timeout(left.min(INTERRUPT_POLL_INTERVAL)) {
                Ok(answer) => break answer,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let what = "the thread of the request ended without an answer";
                    return Err(Failure::new(Reason::InternalError, what).into());
                }
            }
        };
        answer.map_err(|error| named(error, &server))
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        let mut made = self.made.lock();
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = self.build()?;
        Ok(made.insert(client).clone())
    }

    fn build(&self) -> Result<reqwest::Client, Error> {
        let tls = tls_trust::config(self.ca_file.as_deref())
            .map_err(|what| not_written(Reason::TrustUnusable, what))?;
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(self.connect_timeout)
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .tls_info(true)
            .user_agent(concat!("sasl-sso/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| not_written(Reason::TrustUnusable, causes(&error)))
    }
}

/// Runs `work` in a thread in which all signals are blocked from the first instruction.
fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let unusable = |reason, error: &dyn std::fmt::Display| {
        not_written(reason, format!("no thread for the request: {error}"))
    };
    let before = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .map_err(|error| unusable(Reason::InternalError, &error))?;
    let spawned = std::thread::Builder::new()
        .name("sso-http".to_owned())
        .spawn(|| {
            on_the_stack(work);
            // The stack of a thread is reused by the next one, with parts of the request and the
            // reply on it.
            wipe_stack::<{ 64 << 10 }>();
        });
    let restored = before.thread_set_mask();
    spawned.map_err(|error| unusable(Reason::ProcessExhausted, &error))?;
    restored.map_err(|error| unusable(Reason::InternalError, &error))
}

/// Runs `work` in a stack frame of its own.
#[inline(never)]
fn on_the_stack(work: impl FnOnce()) {
    work();
}

fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| not_written(Reason::ProcessExhausted, format!("no runtime: {error}")))?;
    let answer = runtime.block_on(future);
    // This does not wait for a resolver that hangs.
    runtime.shutdown_background();
    answer
}

async fn exchange(client: &reqwest::Client, url: Url, longest: usize) -> Result<Response, Error> {
    let mut response = client.get(url).send().await.map_err(classify)?;
    let status = response.status().as_u16();
    let tls = response.extensions().get::<reqwest::tls::TlsInfo>();
    let certificate = tls.and_then(|tls| tls.peer_certificate().map(<[u8]>::to_vec));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        if body.len() + chunk.len() > longest {
            let what = format!("the reply is longer than {longest} bytes");
            return Err(Failure::new(Reason::ReplyUnusable, what).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response {
        status,
        body,
        certificate,
    })
}

/// Converts reqwest's error, without the URL, which contains the ticket.
fn classify(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let detail = causes(&error);
    let reason = match () {
        () if !error.is_connect() && error.is_timeout() => Reason::ServerTimeout,
        () if !error.is_connect() => Reason::ReplyUnusable,
        () if error.is_timeout() => Reason::ServerTimeout,
        () if is_exhausted(&error) => Reason::ProcessExhausted,
        () if is_tls(&error) => Reason::ServerUntrusted,
        () => Reason::ServerUnreachable,
    };
    Error {
        failure: Failure::new(reason, detail),
        nothing_written: error.is_connect(),
    }
}

/// Whether the system refused a resource for the connection. That says nothing about the server.
fn is_exhausted(error: &reqwest::Error) -> bool {
    let is_lack = |error: &std::io::Error| {
        let code = error.raw_os_error().map(Errno::from_raw);
        matches!(
            code,
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS)
        )
    };
    chain(error).any(|cause| cause.downcast_ref().is_some_and(is_lack))
}

/// Whether TLS failed: rustls reports a problem with its peer as invalid data.
fn is_tls(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| cause.downcast_ref().is_some_and(is_invalid_data))
}

/// Whether an I/O error is about invalid data, or contains one that is.
fn is_invalid_data(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    error.kind() == std::io::ErrorKind::InvalidData || inner.is_some_and(is_invalid_data)
}

fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The causes of an error on one line, without the first ones, which say only that there was an
/// error.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let says_nothing =
        |text: &str| text == "error sending request" || text.starts_with("client error (");
    let causes: Vec<String> = chain(error).map(words).collect();
    let begin = causes.iter().position(|cause| !says_nothing(cause));
    causes[begin.unwrap_or(0)..].join(": ")
}

/// The text of one cause. rustls' errors are inside I/O errors.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let of_tls = |error: &std::io::Error| tls_error(error).map(tls_trust::words);
    let of_tls = error.downcast_ref().and_then(of_tls);
    of_tls.unwrap_or_else(|| error.to_string())
}

fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    let deeper = || inner.downcast_ref().and_then(tls_error);
    inner.downcast_ref().or_else(deeper)
}

fn not_written(reason: Reason, detail: String) -> Error {
    Error {
        failure: Failure::new(reason, detail),
        nothing_written: true,
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Adds the server's name in front of the detail of an error.
fn named(error: Error, server: &str) -> Error {
    let failure = error.failure;
    let detail = match failure.detail() {
        "" => format!("{server} did not answer in time"),
        detail => format!("{server}: {detail}"),
    };
    Error {
        failure: Failure::new(failure.reason(), detail),
        ..error
    }
}
