//! `sasl-sso sessions flush`: ends sessions.

#![forbid(unsafe_code)]

use clap::Args;

use super::store::SessionStore;
use crate::commands::ExitStatus;
use crate::imapd_conf::ConfigArgs;
use crate::term::console::Console;
use sso_core::session_cache::{Flushed, Listed, Selector};

/// End sessions: their credentials are validated again at the next login, in every process.
///
/// CAS is then asked about a ticket again, and refuses it, because it was used. A token is verified
/// again and accepted as long as it is valid: to keep its user out, revoke it at its issuer too, or
/// wait until it expires. A login in progress does not open a session. Open connections stay open.
/// A process that never could use sso_state_dir is not reached: restart the mail server if the log
/// reported that.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: ConfigArgs,
    #[command(flatten)]
    selector: SessionSelector,
}

/// Exactly one of these options.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct SessionSelector {
    /// All sessions of this user: user= in the log, or the name at the SSO server
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Sessions with this digest= in the log, or with a digest that begins with it
    #[arg(long, value_name = "DIGEST", value_parser = read_digest)]
    digest: Option<String>,
    /// All sessions
    #[arg(long)]
    all: bool,
}

impl SessionSelector {
    fn to_selector(&self) -> Selector {
        match (&self.user, &self.digest) {
            (Some(user), _) => Selector::User(user.clone()),
            (_, Some(digest)) => Selector::Digest(digest.clone()),
            (None, None) => Selector::All,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<ExitStatus, String> {
    let session_store = SessionStore::from_config(&arguments.config_args)?;
    let selector = arguments.selector.to_selector();
    let is_selected = |listed: &Listed| match &selector {
        Selector::All => true,
        Selector::User(name) => session_store.belongs_to(listed, name),
        Selector::Digest(prefix) => listed.key.to_string().starts_with(prefix.as_str()),
    };
    let flushed = session_store.open()?.flush(&selector, is_selected)?;
    console.line(summary(flushed));
    Ok(ExitStatus::Success)
}

fn summary(flushed: Flushed) -> String {
    let Flushed { tickets, tokens } = flushed;
    let plural = |count| if count == 1 { "" } else { "s" };
    let mut text = format!(
        "flushed {tickets} session{} of tickets and {tokens} of tokens",
        plural(tickets)
    );
    if tickets > 0 {
        text += "\ntickets: CAS is asked again, and refuses what was used";
    }
    if tokens > 0 {
        text += "\ntokens: verified again, and taken as long as they are valid";
    }
    text
}

/// Parses a digest as in the log, or its beginning: 4 to 12 hexadecimal digits.
fn read_digest(text: &str) -> Result<String, String> {
    let digest = text.strip_prefix("digest=").unwrap_or(text).to_lowercase();
    let is_hex = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_hex && (4..=12).contains(&digest.len()) {
        true => Ok(digest),
        false => Err("is not from 4 to 12 hexadecimal digits, as digest= in the log".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_accepted_as_the_log_prints_it() {
        assert_eq!(read_digest("digest=00FFee112233").unwrap(), "00ffee112233");
        assert_eq!(read_digest("00ff").unwrap(), "00ff");
        for wrong in ["", "0ff", "xyzw", "00112233445566", "PT-1-ticket"] {
            assert!(read_digest(wrong).is_err(), "{wrong}");
        }
    }
}
