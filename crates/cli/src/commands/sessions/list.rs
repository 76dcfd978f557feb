//! `sasl-sso sessions list`: who is known.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::store::Site;
use super::table;
use super::times::{Present, in_words};
use crate::commands::Status;
use crate::imapd_conf::Place;
use crate::term::console::Console;
use sso_core::credential::CredentialKind;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::log::quoted;
use sso_core::session_cache::Listed;

/// Who is known by a ticket or token, the last use first.
///
/// A session is shown with the digest by which its credential goes in the log, and
/// never with the credential. Its last use is written about once a minute; that of a
/// token is not, and its validation stands there. The end is by the lifetimes of
/// --service, if nobody uses it before. Times are in UTC.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only of this user: user= of the log, or the name at the SSO server
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An array of objects
    #[arg(long)]
    json: bool,
}

/// Longer than this nobody means.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 86_400);

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Status, String> {
    let site = Site::enter(&arguments.place)?;
    let store = site.store()?;
    let present = Present::new(&SystemClock);
    let wanted = arguments.user.as_ref();
    let mut shown = store.sessions(|listed| {
        let lifetimes = site.lifetimes(listed.kind);
        let left = listed.left(present.moment, present.wall, &lifetimes)?;
        let is_wanted = wanted.is_none_or(|name| site.is_of(&listed, name));
        is_wanted.then_some((listed, left))
    })?;
    shown.sort_by_key(|(listed, _)| std::cmp::Reverse(listed.used.as_millis()));
    if arguments.json {
        let all: Vec<_> = shown
            .iter()
            .map(|row| object(&site, &present, row))
            .collect();
        console.line(format_args!("{:#}", json!(all)));
        return Ok(Status::Good);
    }
    let heads = [
        "USER",
        "MECHANISM",
        "SERVICE",
        "OPENED",
        "LAST USE",
        "ENDS",
        "LEFT",
        "DIGEST",
    ];
    let rows: Vec<_> = shown
        .iter()
        .map(|row| cells(&site, &present, row))
        .collect();
    if !rows.is_empty() {
        table::write(console, heads, &rows);
    }
    console.line(match rows.len() {
        0 => "no sessions".to_owned(),
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    });
    Ok(Status::Good)
}

fn cells(site: &Site, present: &Present, (listed, left): &(Listed, Duration)) -> [String; 8] {
    let has_end = *left < ENDLESS;
    let if_it_ends = |text: String| if has_end { text } else { "-".to_owned() };
    [
        quoted(&site.user(listed)).into_owned(),
        quoted(&listed.mechanism).into_owned(),
        quoted(&listed.service).into_owned(),
        present.time_of(listed.opened),
        present.time_of(listed.used),
        if_it_ends(present.time_in(*left)),
        if_it_ends(in_words(*left)),
        listed.key.to_string(),
    ]
}

fn object(
    site: &Site,
    present: &Present,
    (listed, left): &(Listed, Duration),
) -> serde_json::Value {
    let has_end = *left < ENDLESS;
    json!({
        "user": site.user(listed),
        "principal": listed.user.principal.as_str(),
        "credential": match listed.kind {
            CredentialKind::Ticket => "ticket",
            CredentialKind::Token => "token",
        },
        "mechanism": listed.mechanism,
        "service": listed.service,
        "opened": present.time_of(listed.opened),
        "used": present.time_of(listed.used),
        "ends": has_end.then(|| present.time_in(*left)),
        "seconds_left": has_end.then_some(left.as_secs()),
        "digest": listed.key.to_string(),
    })
}
