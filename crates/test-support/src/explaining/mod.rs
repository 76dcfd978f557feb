//! `sasl-sso explain` as it is shipped.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use crate::libsasl2;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it said.
#[derive(Debug)]
pub struct Explained {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Explained {
    /// The answer in JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A member of the answer in JSON that is a text, or nothing.
    pub fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// The first step of this name: what came of it, what was found, and what was wanted.
    pub fn step(&self, name: &str) -> [String; 3] {
        let json = self.json();
        let steps = json["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["step"] == name);
        let step = step.unwrap_or_else(|| panic!("no step {name}: {self:?}"));
        ["outcome", "found", "wanted"].map(|name| step[name].as_str().expect("a text").to_owned())
    }

    /// What it comes to: the outcome, and the reason or the user.
    pub fn verdict(&self) -> (String, String) {
        let reason = self.field("reason");
        let user = self.field("user");
        (self.field("outcome"), reason + &user)
    }
}

/// Has a credential explained, as text.
pub fn explain(conf: &Path, credential: &[u8], arguments: &[&str]) -> Explained {
    let program = libsasl2::plugin().with_file_name("sasl-sso");
    let mut child = Command::new(program)
        .env_clear()
        .arg("explain")
        .arg("--config")
        .arg(conf)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sasl-sso: run `make build`");
    let mut input = child.stdin.take().expect("its input");
    // It may not have read it.
    let _ = input.write_all(credential);
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Explained {
        status: output.status.code().expect("an exit status"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The same as JSON.
pub fn explain_json(conf: &Path, credential: &str, arguments: &[&str]) -> Explained {
    let arguments = [&["--json"], arguments].concat();
    explain(conf, credential.as_bytes(), &arguments)
}
