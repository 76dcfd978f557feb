//! A private Postfix with its own master, directories, queue, port and log.

use super::authority::Authority;
use super::plugin_dir;
use super::port::Port;
use super::postfix_conf;
use super::process::{self, Process};
use super::scratch::{Scratch, set_mode};
use super::syslog::{self, Syslog};
use super::wait::{PATIENCE, wait_until};
use std::path::{Path, PathBuf};

pub use super::postfix_conf::Options;

const HOME: &str = "postfix";

/// A running private Postfix in `postfix` below the scratch directory.
pub struct Postfix {
    scratch: Scratch,
    home: PathBuf,
    port: Port,
    syslog: Syslog,
    /// Libraries to preload in addition to the syslog library.
    preload: Vec<PathBuf>,
    master: Option<Process>,
}

impl Postfix {
    /// Writes the configuration, starts master and waits until it listens.
    pub fn start(scratch: &Scratch, authority: &Authority, options: &Options) -> Self {
        let home = scratch.create_dir(HOME);
        for dir in postfix_conf::DIRECTORIES {
            scratch.create_dir(Path::new(HOME).join(dir));
        }
        for dir in postfix_conf::OWN_DIRECTORIES {
            let dir = scratch.create_dir(Path::new(HOME).join(dir));
            set_mode(&dir, 0o700);
            scratch.give_to(&dir, &postfix_conf::mail_owner());
        }
        authority
            .server_certificate()
            .write(scratch, "postfix/server");
        plugin_dir::fill(
            &home.join("sasl"),
            &options.stock_plugins,
            options.plugin.as_deref(),
        );
        let port = Port::reserve();
        let config = home.join("config");
        let write = |name: &str, text| scratch.write(config.join(name), text);
        write("main.cf", postfix_conf::main_cf(&home));
        write("master.cf", postfix_conf::master_cf(&port, options));
        write("sasl/smtpd.conf", postfix_conf::smtpd_conf(&home, options));
        let mut postfix = Self {
            scratch: scratch.clone(),
            syslog: Syslog::start_in(scratch, Path::new(HOME)),
            preload: preload(scratch),
            home,
            port,
            master: None,
        };
        postfix.start_again();
        postfix
    }

    /// Starts master again after [`Postfix::stop`], on the same port and directories.
    pub fn start_again(&mut self) {
        assert!(self.master.is_none(), "Postfix runs already");
        // `postfix start` requires an installed Postfix. With -d, master and its children stay in
        // the same process group.
        let mut command = self
            .scratch
            .command(postfix_conf::unpacked("usr/lib/postfix/sbin/master"));
        command
            .arg("-d")
            .arg("-c")
            .arg(self.home.join("config"))
            .env("LD_LIBRARY_PATH", postfix_conf::unpacked("usr/lib/postfix"))
            .env("SASL_PATH", self.home.join("sasl"));
        self.syslog.attach_with(&mut command, &self.preload);
        let mut master = self.scratch.spawn("postfix", command);
        let up = wait_until(PATIENCE, || !master.running() || self.port.listened());
        assert!(
            up && master.running(),
            "Postfix did not start\n{}{}",
            master.output(),
            self.syslog.tail()
        );
        self.master = Some(master);
    }

    /// Stops master and all its children.
    pub fn stop(&mut self) {
        self.master = None;
    }

    /// Returns the port of smtpd.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the process ID of master.
    pub fn master_pid(&self) -> u32 {
        self.master.as_ref().expect("Postfix is stopped").pid()
    }

    /// Returns the running children of master.
    pub fn children(&self) -> Vec<u32> {
        process::children(self.master_pid())
    }

    /// Returns the log of master and all services.
    pub fn log(&self) -> &Syslog {
        &self.syslog
    }

    /// Returns the path of smtpd.conf.
    pub fn smtpd_conf(&self) -> PathBuf {
        self.home.join("config/sasl/smtpd.conf")
    }

    /// Returns the value of `sso_state_dir`. smtpd creates that directory where its user may write.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join("data/sasl-sso")
    }
}

/// Returns the library that makes Postfix run without root, if the tests do not run as root.
fn preload(scratch: &Scratch) -> Vec<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let name = Path::new(HOME).join("postfix_preload");
    let source = include_str!("postfix_preload.c");
    vec![syslog::build_preload(scratch, &name, source)]
}
