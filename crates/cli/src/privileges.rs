//! The user that the mail server runs as, and its canonicalization of user names.

#![forbid(unsafe_code)]

use nix::unistd::{Uid, User, gethostname, initgroups, setgid, setuid};

use crate::daemon::Fallback;
use crate::imapd_conf::{ConfFile, Format};
use sso_core::config::{Config, is_on};
use sso_core::policy::host_names::{HostNames, ImapdNames, VirtualDomains};

/// Switches from root to the user of the mail system, as Cyrus does, so that this user owns the
/// sessions. `option` is the command line option that `user` is from.
pub(crate) fn become_user(option: &str, user: Option<&str>, conf: &ConfFile) -> Result<(), String> {
    let Some(name) = user.or_else(|| user_of_conf(conf)) else {
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

/// The warning that the result may differ for the mail server's user, if this process is neither
/// root nor that user.
pub(crate) fn other_user_warning(user: Option<&str>, conf: &ConfFile) -> Option<String> {
    let name = user.or_else(|| user_of_conf(conf))?;
    let user = User::from_name(name).ok().flatten()?;
    let ours = Uid::effective();
    (user.uid != ours).then(|| {
        format!(
            "this is how it looks to uid {ours}; {name}, as whom the mail server runs, may \
             read other files: start it as root"
        )
    })
}

/// The user that imapd runs as. A configuration file of SASL does not name the user of its program.
fn user_of_conf(conf: &ConfFile) -> Option<&str> {
    match conf.format() {
        Format::Imapd => Some(conf.host_option("cyrus_user").unwrap_or("cyrus")),
        Format::Sasl => None,
    }
}

/// The name of this host for imapd (`servername`), or for libsasl2 in other programs.
pub(crate) fn host_name(conf: &ConfFile) -> Result<String, Vec<String>> {
    if let Some(name) = conf.host_option("servername") {
        return Ok(name.to_owned());
    }
    let unknown = || vec!["the host has no name; set servername".to_owned()];
    let name = gethostname().map_err(|_| unknown())?;
    name.into_string().map_err(|_| unknown())
}

/// The saslauthd that checks ordinary passwords for the daemon, if one is configured.
///
/// # Errors
/// The user in `sso_fallback_user` does not exist.
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
        let option = conf.written_name("sso_fallback_user");
        format!("{option}: there is no user {name}; name the user of the saslauthd")
    };
    let user = user.ok_or_else(unknown)?;
    Ok(Some(Fallback { path, user }))
}

/// How imapd canonicalizes user names; unknown for other programs.
pub(crate) fn host_names(conf: &ConfFile) -> HostNames {
    if conf.format() == Format::Sasl {
        return HostNames::Unknown;
    }
    let is_on_or = |name: &str, default| conf.host_option(name).and_then(is_on).unwrap_or(default);
    let words = |name: &str| {
        let value = conf.host_option(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    HostNames::Imapd(ImapdNames {
        lower_case: is_on_or("username_tolower", true),
        virtual_domains: match conf.host_option("virtdomains") {
            Some("userid") => VirtualDomains::UserId,
            value if value.and_then(is_on) == Some(true) => VirtualDomains::On,
            _ => VirtualDomains::Off,
        },
        default_domain: conf
            .host_option("defaultdomain")
            .unwrap_or("internal")
            .to_owned(),
        login_realms: words("loginrealms"),
        is_auth_unix: conf
            .host_option("auth_mech")
            .is_none_or(|mech| mech == "unix"),
        drops_detail: false,
    })
}

/// How one service canonicalizes user names, by its SASL service name: imapd and pop3d may remove a
/// `+` and what follows it, as the name of a mailbox.
pub(crate) fn host_names_of(conf: &ConfFile, service: &str) -> HostNames {
    let option = match service {
        "imap" => "imapmagicplus",
        "pop" => "popsubfolders",
        _ => return host_names(conf),
    };
    match host_names(conf) {
        HostNames::Imapd(names) => HostNames::Imapd(ImapdNames {
            drops_detail: conf.host_option(option).and_then(is_on).unwrap_or(false),
            ..names
        }),
        unknown => unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_user_than_the_mail_servers_gets_a_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let us = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        let other = if Uid::effective().is_root() {
            "nobody"
        } else {
            "root"
        };
        let of = |text: &str, user| {
            std::fs::write(file.path(), text).unwrap();
            other_user_warning(user, &ConfFile::read(file.path(), None).unwrap())
        };
        let imapd = |name: &str| format!("configdirectory: /x\ncyrus_user: {name}\n");
        assert_eq!(of(&imapd(&us), None), None);
        assert!(of(&imapd(other), None).unwrap().contains(other));
        assert_eq!(of(&imapd(other), Some(&us)), None);
        // The user of other programs is unknown.
        assert_eq!(of("mech_list: PLAIN\n", None), None);
    }
}
