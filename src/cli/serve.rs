//! `sasl-sso serve`: the daemon, as the files and the command line want it.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Args;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, getgroups, gethostname, initgroups, setgid, setuid};

use super::Status;
use super::conf_file::{self, ConfFile, Format};
use super::console::Console;
use crate::config::{Config, Options, is_on};
use crate::daemon::{self, Journal, Place, Settings};
use crate::identity::HostNames;
use crate::log::{Level, Log};

/// The group that Debian lets connect to saslauthd.
const GROUP: &str = "sasl";

/// Take tickets and tokens in the place of passwords, for logins that can only
/// send a password.
///
/// It speaks saslauthd's protocol. Any other password goes on to the saslauthd at
/// sso_fallback_socket. It runs in the foreground: SIGHUP has it read FILE again,
/// SIGTERM ends it. Sockets of systemd go before --socket.
#[derive(Clone, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: conf_file::Place,
    /// Where it serves [default: saslauthd_path of FILE]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Of the socket, in octal
    #[arg(long, default_value = "0660", value_parser = read_mode)]
    mode: u32,
    /// Of the socket [default: sasl, if we are in it]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Whom it goes on as, if started by root [default: cyrus_user of FILE; with a
    /// file of SASL itself it must be said]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Lines go to standard error and not to syslog
    #[arg(long)]
    stderr: bool,
}

pub(super) fn run(orders: &Arguments, console: &mut Console) -> Status {
    let answered = Journal::start(orders.stderr)
        .map_err(|error| format!("no thread to be had for the log: {error}"))
        .and_then(|journal| {
            let served = serve(orders, &journal);
            if let Err(problem) = &served {
                for line in problem.lines() {
                    journal.write(Level::Error, &format!("sso: not serving: {line}"));
                }
            }
            journal.flush();
            served
        });
    match answered {
        Ok(()) => Status::Good,
        Err(problem) => {
            console.complain(format_args!("serve: {problem}"));
            Status::Unusable
        }
    }
}

fn read_mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text} is no mode of a socket; 0660 is one");
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    (mode & !0o777 == 0).then_some(mode).ok_or_else(wrong)
}

fn serve(orders: &Arguments, journal: &Journal) -> Result<(), String> {
    umask(Mode::from_bits_truncate(0o077));
    let given = Place::given()?;
    let conf = read_file(orders)?;
    become_user(orders, &conf)?;
    let place = match given {
        Some(given) => given,
        None => Place::Made {
            path: socket_path(orders, &conf)?,
            mode: orders.mode,
            group: find_group(orders.group.as_deref(), journal)?,
        },
    };
    // Once more, as who will read it again.
    let settings = read_settings(orders).map_err(|faults| faults.join("\n"))?;
    let again = orders.clone();
    daemon::run(&place, settings, move || read_settings(&again), journal)
}

fn read_file(orders: &Arguments) -> Result<ConfFile, String> {
    orders.place.read()
}

/// All that the files say, or all that is wrong with it.
fn read_settings(orders: &Arguments) -> Result<Settings, Vec<String>> {
    let conf = read_file(orders).map_err(|problem| vec![problem])?;
    let sasl = conf.format().prefix();
    let config = Config::read(&conf).map_err(|faults| {
        let with_prefix = faults.iter().map(|fault| format!("{sasl}{fault}"));
        with_prefix.collect::<Vec<_>>()
    })?;
    if config.cas.is_none() && config.jwt.is_none() {
        let what = format!("neither {sasl}caspt_url nor {sasl}jwt_keys is set; set one");
        return Err(vec![what]);
    }
    let problems = conf.transitions();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Settings {
        names: host_names(&conf),
        host: host_name(&conf)?,
        config,
    })
}

/// The path that the option of libsasl2 says, which its clients read too.
fn socket_path(orders: &Arguments, conf: &ConfFile) -> Result<PathBuf, String> {
    let of_conf = || conf.get("saslauthd_path").map(PathBuf::from);
    let path = orders.socket.clone().or_else(of_conf).ok_or_else(|| {
        let option = format!("{}saslauthd_path", conf.format().prefix());
        format!("where? Set {option}, such as /run/sasl-sso/mux, or use --socket")
    })?;
    // What fits into a sockaddr_un, also while its name is a longer one.
    match path.is_absolute() && path.as_os_str().len() <= 100 {
        true => Ok(path),
        false => Err(format!(
            "{}: is not an absolute path of at most 100 bytes",
            path.display()
        )),
    }
}

/// As Cyrus does, what is started by root goes on as the user of the mail system:
/// the sessions are that user's.
fn become_user(orders: &Arguments, conf: &ConfFile) -> Result<(), String> {
    let of_conf = match conf.format() {
        Format::Imapd => Some(conf.of_host("cyrus_user").unwrap_or("cyrus")),
        Format::Sasl => None,
    };
    let Some(name) = orders.user.as_deref().or(of_conf) else {
        return match Uid::effective().is_root() {
            true => Err("as root? Use --user with the user of the server".to_owned()),
            false => Ok(()),
        };
    };
    let unknown = || format!("there is no user {name}; set cyrus_user, or use --user");
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

/// The group of the socket, if not our own: as ordered, or Debian's if we are in it.
fn find_group(name: Option<&str>, journal: &Journal) -> Result<Option<Gid>, String> {
    let find = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid);
    if let Some(name) = name {
        let unknown = || format!("--group: there is no group {name}");
        return find(name).map(Some).ok_or_else(unknown);
    }
    let ours = getgroups().unwrap_or_default();
    let group = find(GROUP);
    if group.is_some_and(|gid| !ours.contains(&gid)) {
        let line = format!(
            "sso: the socket is for our own group alone: we are not in {GROUP}; add us, or say --group"
        );
        journal.write(Level::Warning, &line);
    }
    Ok(group.filter(|gid| ours.contains(gid)))
}

/// The name that imapd, or libsasl2 for other hosts, goes by.
pub(super) fn host_name(conf: &ConfFile) -> Result<String, Vec<String>> {
    if let Some(name) = conf.of_host("servername") {
        return Ok(name.to_owned());
    }
    let unknown = || vec!["the host has no name; set servername".to_owned()];
    let name = gethostname().map_err(|_| unknown())?;
    name.into_string().map_err(|_| unknown())
}

/// How imapd writes names; of other hosts it is not known.
fn host_names(conf: &ConfFile) -> HostNames {
    if conf.format() == Format::Sasl {
        return HostNames::default();
    }
    let is_no = |name: &str, default| is_on(conf.of_host(name).unwrap_or(default)) == Some(false);
    let default_domain = conf.of_host("defaultdomain").unwrap_or("internal");
    HostNames {
        lower_case: !is_no("username_tolower", "yes"),
        default_domain: (!is_no("virtdomains", "off")).then(|| default_domain.to_owned()),
    }
}
