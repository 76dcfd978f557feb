//! Access to the session cache in the configured state directory.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

use crate::imapd_conf::ConfigArgs;
use crate::privileges::host_names;
use sso_core::config::Config;
use sso_core::credential::CredentialKind;
use sso_core::policy::host_names::HostNames;
use sso_core::session_cache::{Lifetimes, Listed, Store};

/// The session cache of a service's configuration.
pub(crate) struct SessionStore {
    config: Config,
    names: HostNames,
}

impl SessionStore {
    /// Reads the options, and switches to the owner of the state directory: new files there belong
    /// to that user, and files under that user's control are not opened as root.
    ///
    /// # Errors
    /// The problem and its remedy.
    pub(crate) fn from_config(config_args: &ConfigArgs) -> Result<Self, String> {
        let conf = config_args.read()?;
        let sasl = conf.format().prefix();
        let config = conf.config().map_err(|faults| faults.join("\n"))?;
        if config.cas.is_none() && config.jwt.is_none() {
            let file = config_args.config.display();
            return Err(format!(
                "{file}: neither {sasl}caspt_url nor {sasl}jwt_keys is set; name the file of \
                 the mail server by --config, and a service with options of its own by --service"
            ));
        }
        become_owner(&config.sessions.state_dir)?;
        let names = host_names(&conf);
        Ok(Self { config, names })
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.config.sessions.state_dir
    }

    /// Opens the session cache, which must exist.
    pub(crate) fn open(&self) -> Result<Store, String> {
        self.open_if_exists()?
            .ok_or_else(|| self.no_sessions_error())
    }

    /// Opens the session cache, if it exists.
    pub(crate) fn open_if_exists(&self) -> Result<Option<Store>, String> {
        Store::open(self.state_dir(), self.config.sessions.capacity)
    }

    /// The error if there are no sessions or counters.
    pub(crate) fn no_sessions_error(&self) -> String {
        no_sessions_error(self.state_dir())
    }

    /// The lifetimes of a kind of session.
    pub(crate) fn lifetimes(&self, kind: CredentialKind) -> Lifetimes {
        match (kind, &self.config.cas) {
            (CredentialKind::Ticket, Some(cas)) => Lifetimes::of_tickets(cas),
            _ => Lifetimes::UNLIMITED,
        }
    }

    /// The user of a session as in the log: the host name of the user from the last login, or the
    /// usual one.
    pub(crate) fn user(&self, listed: &Listed) -> String {
        let mail_user = listed.user.mail_user.as_str();
        let computed = || self.names.canonical(mail_user).ok();
        let host_name = listed.user.host_name.clone().or_else(computed);
        host_name.unwrap_or_else(|| mail_user.to_owned())
    }

    /// Whether a session belongs to the user of this name: a principal, a mail user, or a host name
    /// of the user.
    pub(crate) fn belongs_to(&self, listed: &Listed, name: &str) -> bool {
        let is_name = |known: &str| known == name || self.names.is_same(known, name);
        listed.user.principal.as_str() == name
            || is_name(listed.user.mail_user.as_str())
            || is_name(&self.user(listed))
    }
}

fn no_sessions_error(directory: &Path) -> String {
    format!(
        "{}: there is nothing: nobody has logged in by single sign-on since the host was \
         booted, or sso_state_dir of the mail server is another one",
        directory.display()
    )
}

/// Switches permanently to the owner of the directory.
fn become_owner(directory: &Path) -> Result<(), String> {
    let path = directory.display();
    let metadata = fs::symlink_metadata(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_sessions_error(directory),
        _ => format!("{path}: {error}; run this as root"),
    })?;
    if !metadata.is_dir() {
        return Err(format!("{path}: is not a directory; see who put it there"));
    }
    let owner = Uid::from_raw(metadata.uid());
    if owner == Uid::effective() {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        let user = User::from_uid(owner).ok().flatten();
        let name = user.map_or(format!("uid {owner}"), |user| user.name);
        return Err(format!(
            "{path}: belongs to {name}; run this as {name}, or as root"
        ));
    }
    setgroups(&[])
        .and_then(|()| setgid(Gid::from_raw(metadata.gid())))
        .and_then(|()| setuid(owner))
        .map_err(|error| format!("cannot go on as uid {owner}: {error}; run this as that user"))
}
