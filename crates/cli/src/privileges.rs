//! The mail server whose file is read: as which user it runs, and how it writes names.

#![forbid(unsafe_code)]

use nix::unistd::{Uid, User, gethostname, initgroups, setgid, setuid};

use crate::daemon::Fallback;
use crate::imapd_conf::{ConfFile, Format};
use sso_core::config::{Config, is_on};
use sso_core::policy::host_names::{HostNames, ImapdNames, VirtualDomains};

/// As Cyrus does, what is started by root goes on as the user of the mail system:
/// the sessions are that user's. `option` is the command line's, in which `user` is.
pub(crate) fn become_user(option: &str, user: Option<&str>, conf: &ConfFile) -> Result<(), String> {
    let Some(name) = user.or_else(|| of_conf(conf)) else {
        return match Uid::effective().is_root() {
            true => Err(format!("as root? Use {option} with the user of the server")),
            false => Ok(()),
        };
    };
    let unknown = || format!("there is no user {name}; set cyrus_user, or use {option}");
    let user = User::from_name(name).ok().flatten().ok_or_else(unknown)?;
    if user.uid == Uid::effective() {
        return Ok(());
    }
    let become_it = || -> nix::Result<()> {
        let name = std::ffi::CString::new(name).map_err(|_| nix::errno::Errno::EINVAL)?;
        initgroups(&name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)
    };
    become_it().map_err(|error| format!("cannot go on as {name}: {error}; start it as {name}"))
}

/// What is to be known of an answer if we are neither root nor the user of the mail
/// server: files look different to it.
pub(crate) fn as_somebody_else(user: Option<&str>, conf: &ConfFile) -> Option<String> {
    let name = user.or_else(|| of_conf(conf))?;
    let user = User::from_name(name).ok().flatten()?;
    let ours = Uid::effective();
    (user.uid != ours).then(|| {
        format!(
            "this is how it looks to uid {ours}; {name}, as whom the mail server runs, may \
             read other files: start it as root"
        )
    })
}

/// The user of imapd; that of other hosts is not in the file.
fn of_conf(conf: &ConfFile) -> Option<&str> {
    match conf.format() {
        Format::Imapd => Some(conf.of_host("cyrus_user").unwrap_or("cyrus")),
        Format::Sasl => None,
    }
}

/// The name that imapd, or libsasl2 for other hosts, goes by.
pub(crate) fn host_name(conf: &ConfFile) -> Result<String, Vec<String>> {
    if let Some(name) = conf.of_host("servername") {
        return Ok(name.to_owned());
    }
    let unknown = || vec!["the host has no name; set servername".to_owned()];
    let name = gethostname().map_err(|_| unknown())?;
    name.into_string().map_err(|_| unknown())
}

/// The saslauthd that the daemon asks about ordinary passwords, if there is one.
///
/// # Errors
/// That nobody has the name of `sso_fallback_user`.
pub(crate) fn fallback_of(conf: &ConfFile, config: &Config) -> Result<Option<Fallback>, String> {
    let Some(path) = config.fallback.clone() else {
        return Ok(None);
    };
    let name = &config.fallback_user;
    let user = match name.as_str() {
        "root" => Some(Uid::from_raw(0)),
        name => User::from_name(name).ok().flatten().map(|user| user.uid),
    };
    let unknown = || {
        let option = conf.written("sso_fallback_user");
        format!("{option}: there is no user {name}; name the user of the saslauthd")
    };
    let user = user.ok_or_else(unknown)?;
    Ok(Some(Fallback { path, user }))
}

/// How imapd canonicalizes names; of other hosts it is not known.
pub(crate) fn host_names(conf: &ConfFile) -> HostNames {
    if conf.format() == Format::Sasl {
        return HostNames::Unknown;
    }
    let is_on_or = |name: &str, default| conf.of_host(name).and_then(is_on).unwrap_or(default);
    let words = |name: &str| {
        let value = conf.of_host(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    HostNames::Imapd(ImapdNames {
        lower_case: is_on_or("username_tolower", true),
        virtual_domains: match conf.of_host("virtdomains") {
            Some("userid") => VirtualDomains::UserId,
            value if value.and_then(is_on) == Some(true) => VirtualDomains::On,
            _ => VirtualDomains::Off,
        },
        default_domain: conf
            .of_host("defaultdomain")
            .unwrap_or("internal")
            .to_owned(),
        login_realms: words("loginrealms"),
        is_auth_unix: conf.of_host("auth_mech").is_none_or(|mech| mech == "unix"),
        drops_detail: false,
    })
}

/// The same for one service, by the name that it gives to libsasl2: imapd and pop3d may
/// take what follows a `+` for a part of the mailbox.
pub(crate) fn host_names_of(conf: &ConfFile, service: &str) -> HostNames {
    let option = match service {
        "imap" => "imapmagicplus",
        "pop" => "popsubfolders",
        _ => return host_names(conf),
    };
    match host_names(conf) {
        HostNames::Imapd(names) => HostNames::Imapd(ImapdNames {
            drops_detail: conf.of_host(option).and_then(is_on).unwrap_or(false),
            ..names
        }),
        unknown => unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_as_somebody_else_is_told_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let us = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        let other = if Uid::effective().is_root() {
            "nobody"
        } else {
            "root"
        };
        let of = |text: &str, user| {
            std::fs::write(file.path(), text).unwrap();
            as_somebody_else(user, &ConfFile::read(file.path(), None).unwrap())
        };
        let imapd = |name: &str| format!("configdirectory: /x\ncyrus_user: {name}\n");
        assert_eq!(of(&imapd(&us), None), None);
        assert!(of(&imapd(other), None).unwrap().contains(other));
        assert_eq!(of(&imapd(other), Some(&us)), None);
        // Of others it is not known.
        assert_eq!(of("mech_list: PLAIN\n", None), None);
    }
}
