//! `sasl-sso sessions list`: lists the cached sessions.

#![forbid(unsafe_code)]

use std::time::Duration;

use anstyle::Style;
use clap::Args;
use serde_json::json;

use super::store::SessionStore;
use super::times::{CurrentTime, format_duration};
use crate::commands::ExitStatus;
use crate::imapd_conf::ConfigArgs;
use crate::term::console::{Console, styled};
use sso_core::credential::CredentialKind;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::log::quoted;
use sso_core::session_cache::Listed;

/// List cached sessions, the most recently used first.
///
/// A session is shown with the digest of its credential in the log, never with the credential. The
/// time of last use is updated about once a minute; for a token, it is the time of its last
/// validation. The end is calculated with the lifetimes of --service, assuming no further use.
/// Times are in UTC.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: ConfigArgs,
    /// Only sessions of this user: user= in the log, or the name at the SSO server
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print a JSON array of objects
    #[arg(long)]
    json: bool,
}

/// A session that lives longer than this is shown without an end.
const MAX_SHOWN_LIFETIME: Duration = Duration::from_secs(100 * 365 * 86_400);

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<ExitStatus, String> {
    let session_store = SessionStore::from_config(&arguments.config_args)?;
    let store = session_store.open()?;
    let now = CurrentTime::new(&SystemClock);
    let wanted = arguments.user.as_ref();
    let mut shown = store.sessions(|listed| {
        let lifetimes = session_store.lifetimes(listed.kind);
        let left = listed.left(now.boot_time, now.wall, &lifetimes)?;
        let is_wanted = wanted.is_none_or(|name| session_store.belongs_to(&listed, name));
        is_wanted.then_some((listed, left))
    })?;
    shown.sort_by_key(|(listed, _)| std::cmp::Reverse(listed.used.as_millis()));
    if arguments.json {
        let all: Vec<_> = shown
            .iter()
            .map(|row| object(&session_store, &now, row))
            .collect();
        console.line(format_args!("{:#}", json!(all)));
        return Ok(ExitStatus::Success);
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
        .map(|row| cells(&session_store, &now, row))
        .collect();
    if !rows.is_empty() {
        write_table(console, heads, &rows);
    }
    console.line(match rows.len() {
        0 => "no sessions".to_owned(),
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    });
    Ok(ExitStatus::Success)
}

fn cells(
    session_store: &SessionStore,
    now: &CurrentTime,
    (listed, left): &(Listed, Duration),
) -> [String; 8] {
    let has_end = *left < MAX_SHOWN_LIFETIME;
    let if_it_ends = |text: String| if has_end { text } else { "-".to_owned() };
    [
        quoted(&session_store.user(listed)).into_owned(),
        quoted(&listed.mechanism).into_owned(),
        quoted(&listed.service).into_owned(),
        now.past_time(listed.opened),
        now.past_time(listed.used),
        if_it_ends(now.future_time(*left)),
        if_it_ends(format_duration(*left)),
        listed.key.to_string(),
    ]
}

fn object(
    session_store: &SessionStore,
    now: &CurrentTime,
    (listed, left): &(Listed, Duration),
) -> serde_json::Value {
    let has_end = *left < MAX_SHOWN_LIFETIME;
    json!({
        "user": session_store.user(listed),
        "principal": listed.user.principal.as_str(),
        "credential": match listed.kind {
            CredentialKind::Ticket => "ticket",
            CredentialKind::Token => "token",
        },
        "mechanism": listed.mechanism,
        "service": listed.service,
        "opened": now.past_time(listed.opened),
        "used": now.past_time(listed.used),
        "ends": has_end.then(|| now.future_time(*left)),
        "seconds_left": has_end.then_some(left.as_secs()),
        "digest": listed.key.to_string(),
    })
}

/// Writes rows in columns, below a bold header. A column whose header begins with a blank is
/// aligned to the right.
pub(crate) fn write_table<const N: usize>(
    console: &mut Console,
    heads: [&str; N],
    rows: &[[String; N]],
) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(heads[column].chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let width = widths[column];
            line += &match heads[column].starts_with(' ') {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        line.trim_end().to_owned()
    };
    console.line(styled(Style::new().bold(), line(heads)));
    for row in rows {
        console.line(line(row.each_ref().map(String::as_str)));
    }
}
