//! Who checks ordinary passwords: the saslauthd that the host asks.

#![forbid(unsafe_code)]

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::Uid;

use super::Context;
use crate::commands::check::access::{Want, Who};
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::Format;
use crate::imapd_conf::login_paths;
use sso_core::config::Options;

/// Where libsasl2 looks for saslauthd without `saslauthd_path`.
const DEFAULT: &str = "/var/run/saslauthd/mux";

/// What stands for `/` to a smtpd in Debian's chroot jail.
const JAIL: &str = "/var/spool/postfix";

/// Without an answer from saslauthd every ordinary password is refused.
pub(crate) fn saslauthd_does_not_answer(subject: &mut Subject<'_>, _: &Context<'_>) {
    let Some(path) = asked_path(subject) else {
        return;
    };
    let mut paths = vec![path.clone()];
    if subject.conf.format() == Format::Sasl {
        paths.push(Path::new(JAIL).join(path.strip_prefix("/").unwrap_or(&path)));
    }
    let answers: Vec<_> = paths.iter().map(|path| ask(path)).collect();
    let option = option(subject);
    let (shown, daemon) = (path.display(), "systemctl enable --now sasl-sso.socket");
    if answers.iter().all(Result::is_err) {
        let error = answers.into_iter().find_map(Result::err);
        if error == Some(Errno::EACCES) && !Uid::effective().is_root() {
            let what = format!("{shown} may not be entered by this user; run check as root");
            return subject.say_of_sasl(Severity::Note, option, &what);
        }
        let error = error.map_or_else(String::new, |error| error.desc().to_owned());
        let what = format!(
            "nobody answers at {shown} ({error}), and so no password is checked; start the \
             saslauthd of this socket (that of sasl-sso: {daemon}), or name another"
        );
        return subject.say_of_sasl(Severity::Warning, option, &what);
    }
    if subject.conf.format() == Format::Imapd {
        let user = subject.conf.of_host("cyrus_user").unwrap_or("cyrus");
        let who = Who::find(user);
        if let Some(hindrance) = who.and_then(|who| who.hindrance(&path, Want::Write)) {
            let what = format!("{hindrance}; add {user} to the group of the socket (sasl)");
            subject.say_of_sasl(Severity::Warning, option, &what);
        }
    }
}

/// Whoever listens at the socket gets all passwords, and decides who may log in.
pub(crate) fn saslauthd_can_be_replaced(subject: &mut Subject<'_>, _: &Context<'_>) {
    let Some(path) = asked_path(subject) else {
        return;
    };
    // In a sticky directory only what is there already stays whose it is, and the
    // socket is not there while saslauthd is down.
    let is_open = |name: &Path, directory: &Path| {
        let mode = fs::metadata(directory).map_or(0, |found| found.mode());
        let is_sticky = mode & 0o1000 != 0;
        mode & 0o002 != 0 && !(is_sticky && name.is_dir())
    };
    let mut steps = path.ancestors().zip(path.ancestors().skip(1));
    if let Some((_, directory)) = steps.find(|(name, directory)| is_open(name, directory)) {
        let (path, directory) = (path.display(), directory.display());
        let what = format!(
            "everybody may write {directory}, and so take {path} and get all passwords; move the \
             socket to a directory of its own, such as /run/sasl-sso"
        );
        subject.say_of_sasl(Severity::Warning, option(subject), &what);
    }
}

/// The socket of the saslauthd that the host asks, if it asks one.
fn asked_path(subject: &Subject<'_>) -> Option<PathBuf> {
    let path = subject.conf.get("saslauthd_path");
    let path = PathBuf::from(path.as_deref().unwrap_or(DEFAULT));
    (login_paths::asks_saslauthd(subject.conf) && path.is_absolute()).then_some(path)
}

/// The option that the finding is about.
fn option(subject: &Subject<'_>) -> &'static str {
    match subject.conf.get("saslauthd_path") {
        Some(_) => "saslauthd_path",
        None => "pwcheck_method",
    }
}

/// Whether a process listens at a socket. Nothing is sent, and nothing blocks.
fn ask(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        // The backlog of a listener is full.
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}
