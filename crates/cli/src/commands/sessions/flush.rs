//! `sasl-sso sessions flush`: out with someone.

#![forbid(unsafe_code)]

use clap::Args;

use super::store::Site;
use crate::commands::Status;
use crate::imapd_conf::Place;
use crate::term::console::Console;
use sso_core::session_cache::{Flushed, Listed, Selector};

/// End sessions: from now on their credentials are validated anew, in every process.
///
/// A ticket is then asked of CAS again, which refuses it, for it was used. A token is
/// verified again, and taken again as long as it is valid: to keep its user out, end
/// it at its issuer too, or wait for its end. A login that is under way opens no
/// session. Connections that are open stay open. A process that could never use
/// sso_state_dir is not reached: restart the mail server if the log has said so.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    whose: Whose,
}

/// Exactly one.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// All of this user: user= of the log, or the name at the SSO server
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The one of this digest= of the log, or those that begin like this
    #[arg(long, value_name = "DIGEST", value_parser = read_digest)]
    digest: Option<String>,
    /// All of everybody
    #[arg(long)]
    all: bool,
}

impl Whose {
    fn selector(&self) -> Selector {
        match (&self.user, &self.digest) {
            (Some(user), _) => Selector::User(user.clone()),
            (_, Some(digest)) => Selector::Digest(digest.clone()),
            (None, None) => Selector::All,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Status, String> {
    let site = Site::enter(&arguments.place)?;
    let selector = arguments.whose.selector();
    let is_meant = |listed: &Listed| match &selector {
        Selector::All => true,
        Selector::User(name) => site.is_of(listed, name),
        Selector::Digest(prefix) => listed.key.to_string().starts_with(prefix.as_str()),
    };
    let flushed = site.store()?.flush(&selector, is_meant)?;
    console.line(in_words(flushed));
    Ok(Status::Good)
}

fn in_words(flushed: Flushed) -> String {
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

/// A digest as the log has it, or its beginning: hexadecimal, from 4 digits to 12.
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
    fn a_digest_is_taken_as_it_stands_in_the_log() {
        assert_eq!(read_digest("digest=00FFee112233").unwrap(), "00ffee112233");
        assert_eq!(read_digest("00ff").unwrap(), "00ff");
        for wrong in ["", "0ff", "xyzw", "00112233445566", "PT-1-ticket"] {
            assert!(read_digest(wrong).is_err(), "{wrong}");
        }
    }
}
