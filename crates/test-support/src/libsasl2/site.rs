//! A site without a mail server: libsasl2 with the plugin, and a CAS that does as it is told.

use super::{Driver, Kit};
use crate::authority::Authority;
use crate::faulty_cas::FaultyCas;
use crate::scratch::Scratch;
use std::path::PathBuf;

/// The proxy that the site lets present users.
pub const PROXY: &str = "https://webmail.example/callback";

/// Options of the plugin as the program reads them.
pub fn imapd_conf(scratch: &Scratch, options: &[(String, String)]) -> PathBuf {
    let line = |(name, value): &(String, String)| format!("sasl_{name}: {value}\n");
    scratch.write("imapd.conf", options.iter().map(line).collect::<String>())
}

/// A scratch directory with a kit and a CAS that does as it is told.
pub struct Site {
    pub kit: Kit,
    pub cas: FaultyCas,
    pub authority: Authority,
    options: Vec<(String, String)>,
    pub scratch: Scratch,
}

impl Site {
    /// A site whose CAS is correct, with patience for a busy machine.
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

    /// The site's options as an imapd.conf.
    pub fn imapd_conf(&self) -> PathBuf {
        imapd_conf(&self.scratch, &self.options)
    }

    /// A server whose options are the site's, but for these.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// The site's options, but for these, as an imapd.conf.
    pub fn conf(&self, other: &[(&str, &str)]) -> PathBuf {
        super::conf(&self.scratch, &self.options, other)
    }

    /// The same under another program, such as valgrind.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        self.kit
            .driver_of(&self.scratch, wrapper, &self.options, other)
    }
}
