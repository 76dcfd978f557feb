//! libsasl2 with the plugin, and a CAS server that can be made to fail. No mail server is involved.

use super::{Driver, Kit};
use crate::authority::Authority;
use crate::faulty_cas::FaultyCas;
use crate::scratch::Scratch;
use std::path::PathBuf;

/// The proxy that may present users.
pub const PROXY: &str = "https://webmail.example/callback";

/// Writes options of the plugin to an imapd.conf, and returns its path.
pub fn imapd_conf(scratch: &Scratch, options: &[(String, String)]) -> PathBuf {
    let line = |(name, value): &(String, String)| format!("sasl_{name}: {value}\n");
    scratch.write("imapd.conf", options.iter().map(line).collect::<String>())
}

/// A scratch directory with a driver and a CAS server that can be made to fail.
pub struct Site {
    pub kit: Kit,
    pub cas: FaultyCas,
    pub authority: Authority,
    options: Vec<(String, String)>,
    pub scratch: Scratch,
}

impl Site {
    /// Starts a CAS server that behaves correctly. The time-outs are long enough for a busy
    /// machine.
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let state = scratch.join("state");
        let options = [
            ("caspt_url", cas.url()),
            (
                "caspt_ca_file",
                authority.write_ca(&scratch).display().to_string(),
            ),
            ("caspt_proxies", PROXY.to_owned()),
            ("caspt_timeout", "20".to_owned()),
            ("sso_state_dir", state.display().to_string()),
        ];
        Self {
            kit: Kit::new(&scratch),
            cas,
            authority,
            options: options
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            scratch,
        }
    }

    /// Writes the options to an imapd.conf.
    pub fn imapd_conf(&self) -> PathBuf {
        imapd_conf(&self.scratch, &self.options)
    }

    /// Starts a driver, with `other` in place of options of the same name.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// Writes the options to an imapd.conf, with `other` in place of options of the same name.
    pub fn conf(&self, other: &[(&str, &str)]) -> PathBuf {
        super::conf(&self.scratch, &self.options, other)
    }

    /// Like [`Site::driver`], through a wrapper such as valgrind.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        self.kit
            .driver_of(&self.scratch, wrapper, &self.options, other)
    }
}
