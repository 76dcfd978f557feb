//! The saslauthd that the host application asks about ordinary passwords.

#![forbid(unsafe_code)]

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::Uid;

use super::RiskInputs;
use crate::commands::check::access::{Access, Account};
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::Format;
use crate::imapd_conf::login_paths;
use sso_core::config::Options;

/// The default socket of saslauthd in libsasl2.
const DEFAULT_SOCKET: &str = "/var/run/saslauthd/mux";

/// The root directory of smtpd in Debian's chroot jail.
const POSTFIX_CHROOT: &str = "/var/spool/postfix";

/// Without an answer from saslauthd all ordinary passwords are refused.
pub(crate) fn saslauthd_does_not_answer(context: &mut CheckContext<'_>, _: &RiskInputs<'_>) {
    let Some(path) = saslauthd_socket(context) else {
        return;
    };
    let mut paths = vec![path.clone()];
    if context.conf.format() == Format::Sasl {
        paths.push(Path::new(POSTFIX_CHROOT).join(path.strip_prefix("/").unwrap_or(&path)));
    }
    let answers: Vec<_> = paths.iter().map(|path| check_listens(path)).collect();
    let option = option(context);
    let (shown, daemon) = (path.display(), "systemctl enable --now sasl-sso.socket");
    if answers.iter().all(Result::is_err) {
        let error = answers.into_iter().find_map(Result::err);
        if error == Some(Errno::EACCES) && !Uid::effective().is_root() {
            let what = format!("{shown} may not be entered by this user; run check as root");
            return context.add_for_sasl(Severity::Note, option, &what);
        }
        let error = error.map_or_else(String::new, |error| error.desc().to_owned());
        let what = format!(
            "nobody answers at {shown} ({error}), and so no password is checked; start the \
             saslauthd of this socket (that of sasl-sso: {daemon}), or name another"
        );
        return context.add_for_sasl(Severity::Warning, option, &what);
    }
    if context.conf.format() == Format::Imapd {
        let user = context.conf.host_option("cyrus_user").unwrap_or("cyrus");
        let account = Account::find(user);
        if let Some(denial) = account.and_then(|account| account.denial(&path, Access::Write)) {
            let what = format!("{denial}; add {user} to the group of the socket (sasl)");
            context.add_for_sasl(Severity::Warning, option, &what);
        }
    }
}

/// The process that listens on the socket receives all passwords and decides about logins.
pub(crate) fn saslauthd_can_be_replaced(context: &mut CheckContext<'_>, _: &RiskInputs<'_>) {
    let Some(path) = saslauthd_socket(context) else {
        return;
    };
    // In a sticky directory existing files cannot be replaced, but the socket does not exist while
    // saslauthd is down.
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
        context.add_for_sasl(Severity::Warning, option(context), &what);
    }
}

/// The socket of the saslauthd that the host application asks, if it asks one.
fn saslauthd_socket(context: &CheckContext<'_>) -> Option<PathBuf> {
    let path = context.conf.get("saslauthd_path");
    let path = PathBuf::from(path.as_deref().unwrap_or(DEFAULT_SOCKET));
    (login_paths::asks_saslauthd(context.conf) && path.is_absolute()).then_some(path)
}

/// The option that the diagnostic is about.
fn option(context: &CheckContext<'_>) -> &'static str {
    match context.conf.get("saslauthd_path") {
        Some(_) => "saslauthd_path",
        None => "pwcheck_method",
    }
}

/// Whether a process listens on a socket. Nothing is sent, and the connection attempt does not
/// block.
fn check_listens(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        // The listener's backlog is full.
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}
