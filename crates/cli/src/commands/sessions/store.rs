//! The state directory that the options name, and whose it is.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

use crate::imapd_conf::Place;
use crate::privileges::host_names;
use sso_core::config::Config;
use sso_core::credential::CredentialKind;
use sso_core::policy::host_names::HostNames;
use sso_core::session_cache::{Lifetimes, Listed, Store};

/// What the options of a service say of sessions.
pub(crate) struct Site {
    config: Config,
    names: HostNames,
}

impl Site {
    /// Reads the options, and goes on as who owns the state directory: what is in
    /// there is that user's, and root is not to stumble over it.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    pub(crate) fn enter(place: &Place) -> Result<Self, String> {
        let conf = place.read()?;
        let sasl = conf.format().prefix();
        let config = conf.config().map_err(|faults| faults.join("\n"))?;
        if config.cas.is_none() && config.jwt.is_none() {
            let file = place.config.display();
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

    /// The store, which must be there.
    pub(crate) fn store(&self) -> Result<Store, String> {
        self.find_store()?.ok_or_else(|| self.nothing())
    }

    /// The store, if there is one.
    pub(crate) fn find_store(&self) -> Result<Option<Store>, String> {
        Store::open(self.state_dir(), self.config.sessions.capacity)
    }

    /// What is said where there is nothing.
    pub(crate) fn nothing(&self) -> String {
        nothing(self.state_dir())
    }

    /// How long sessions of a kind live.
    pub(crate) fn lifetimes(&self, kind: CredentialKind) -> Lifetimes {
        match (kind, &self.config.cas) {
            (CredentialKind::Ticket, Some(cas)) => Lifetimes::of_tickets(cas),
            _ => Lifetimes::UNLIMITED,
        }
    }

    /// The name of a session's user as the log has it: the one that the host gave it at
    /// the last login, or the usual one.
    pub(crate) fn user(&self, listed: &Listed) -> String {
        let mail_user = listed.user.mail_user.as_str();
        let computed = || self.names.canonical(mail_user).ok();
        let host_name = listed.user.host_name.clone().or_else(computed);
        host_name.unwrap_or_else(|| mail_user.to_owned())
    }

    /// Whether a session is that of the user of this name: a principal, a mail user, or
    /// the host's name of one.
    pub(crate) fn is_of(&self, listed: &Listed, name: &str) -> bool {
        let is_name = |known: &str| known == name || self.names.is_same(known, name);
        listed.user.principal.as_str() == name
            || is_name(listed.user.mail_user.as_str())
            || is_name(&self.user(listed))
    }
}

fn nothing(directory: &Path) -> String {
    format!(
        "{}: there is nothing: nobody has logged in by single sign-on since the host was \
         booted, or sso_state_dir of the mail server is another one",
        directory.display()
    )
}

/// Goes on as who owns the directory, for good.
fn become_owner(directory: &Path) -> Result<(), String> {
    let path = directory.display();
    let metadata = fs::symlink_metadata(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => nothing(directory),
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
