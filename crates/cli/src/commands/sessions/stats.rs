//! `sasl-sso sessions stats`: shows statistics.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::{Value, json};

use super::list::write_table;
use super::prometheus;
use super::snapshot::{LoginTotals, Snapshot, credential_word, failures, outcomes};
use super::store::SessionStore;
use super::times::format_three_digits;
use crate::commands::ExitStatus;
use crate::imapd_conf::ConfigArgs;
use crate::term::console::Console;
use sso_core::credential::CredentialKind;
use sso_core::error::Reason;
use sso_core::metrics::{CREDENTIALS, Counters, Decider, DurationHistogram};

/// Show login counts since boot, validation times, and the size of the session cache.
///
/// All processes of the host count their logins here, for all services. A login is counted once,
/// when its line is logged. Exit status: 0 on success, 1 if there is a session cache but no
/// counters (only the session cache is shown then), 2 if there is neither or they cannot be used.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: ConfigArgs,
    /// Print one JSON object
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Print Prometheus' text format, for the textfile collector of node exporter
    #[arg(long)]
    prometheus: bool,
}

/// The percentiles that are shown.
const PERCENTILES: [u64; 4] = [50, 90, 99, 100];

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<ExitStatus, String> {
    let session_store = SessionStore::from_config(&arguments.config_args)?;
    let counters = Counters::open(session_store.state_dir());
    let usage = match session_store.open_if_exists()? {
        Some(store) => Some(store.usage()?),
        None => None,
    };
    if usage.is_none() && counters.is_err() {
        return Err(session_store.no_sessions_error());
    }
    let mut status = ExitStatus::Success;
    if let Err(problem) = &counters {
        let directory = session_store.state_dir().display();
        console.print_error(format_args!(
            "sessions: {directory}: there are no counters of this version: {problem}; see the \
             log for why logins are not counted"
        ));
        status = ExitStatus::Failure;
    }
    let snapshot = Snapshot {
        counters: counters.ok(),
        usage,
    };
    if arguments.json {
        console.line(format_args!("{:#}", snapshot.object()));
    } else if arguments.prometheus {
        console.line(prometheus::text(&snapshot).trim_end());
    } else {
        snapshot.write(console);
    }
    Ok(status)
}

impl Snapshot {
    fn object(&self) -> Value {
        let mut logins = Vec::new();
        let mut validations = json!({});
        if let Some(counters) = &self.counters {
            for kind in CREDENTIALS {
                for decider in Decider::ALL {
                    for failure in failures() {
                        let count = counters.logins(kind, decider, failure);
                        let outcome = failure.map_or("accepted", |reason| reason.kind().code());
                        if count > 0 {
                            logins.push(json!({
                                "credential": credential_word(kind),
                                "source": decider.code(),
                                "outcome": outcome,
                                "reason": failure.map(Reason::code),
                                "count": count,
                            }));
                        }
                    }
                }
            }
            for kind in [CredentialKind::Ticket, CredentialKind::Token] {
                validations[credential_word(Some(kind))] = seconds(&counters.validations(kind));
            }
        }
        let store = self.usage.as_ref().map(|usage| {
            let mut records = json!({});
            for (table, count, most) in &usage.records {
                records[*table] = json!({ "count": count, "most": most });
            }
            json!({
                "records": records,
                "used_bytes": usage.used,
                "room_bytes": usage.room,
                "evicted_sessions": self.counters.as_ref().map(Counters::evicted),
            })
        });
        json!({ "logins": logins, "validations": validations, "store": store })
    }

    fn write(&self, console: &mut Console) {
        if let Some(counters) = &self.counters {
            let totals = LoginTotals(counters);
            let row = |name: &str, of: &dyn Fn(Option<CredentialKind>) -> u64| {
                let [tickets, tokens, none] = CREDENTIALS.map(|kind| of(kind).to_string());
                [name.to_owned(), tickets, tokens, none]
            };
            let rows: Vec<_> = outcomes()
                .map(|(outcome, name)| row(name, &|kind| totals.by_outcome(kind, outcome)))
                .collect();
            write_table(
                console,
                ["LOGINS", "  TICKETS", "  TOKENS", "  NEITHER"],
                &rows,
            );
            let rows: Vec<_> = Decider::ALL
                .into_iter()
                .map(|decider| row(decider.code(), &|kind| totals.by_decider(kind, decider)))
                .collect();
            console.line("");
            write_table(
                console,
                ["DECIDED BY", "  TICKETS", "  TOKENS", "  NEITHER"],
                &rows,
            );
            write_reasons(console, &totals);
            write_validations(console, counters);
        }
        if let Some(usage) = &self.usage {
            console.line("");
            let row = |(table, count, most): &(&str, u64, u64)| {
                [(*table).to_owned(), count.to_string(), most.to_string()]
            };
            let rows: Vec<_> = usage.records.iter().map(row).collect();
            write_table(console, ["STORE", "  RECORDS", "  AT MOST"], &rows);
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let evicted = self.counters.as_ref().map_or(0, Counters::evicted);
            console.line(format_args!(
                "{:.1} MiB of {:.0} MiB are used; {evicted} sessions had to make room",
                mib(usage.used),
                mib(usage.room)
            ));
        }
    }
}

/// Writes the reasons of failed logins, if there are any.
fn write_reasons(console: &mut Console, totals: &LoginTotals<'_>) {
    let mut rows = Vec::new();
    for reason in Reason::ALL {
        let count = totals.by_reason(*reason);
        if count > 0 {
            let outcome = reason.kind().code().to_owned();
            rows.push([reason.code().to_owned(), outcome, count.to_string()]);
        }
    }
    if !rows.is_empty() {
        console.line("");
        write_table(console, ["FAILED FOR", "OUTCOME", "  LOGINS"], &rows);
    }
}

/// Writes how long CAS takes to answer, and how long it takes to verify tokens.
fn write_validations(console: &mut Console, counters: &Counters) {
    let row = |kind, name: &str| {
        let durations = counters.validations(kind);
        let [half, most, nearly_all, all] = PERCENTILES
            .map(|percent| durations.percentile(percent).map(format_three_digits))
            .map(Option::unwrap_or_default);
        let count = durations.count().to_string();
        [name.to_owned(), count, half, most, nearly_all, all]
    };
    let rows = [
        row(CredentialKind::Ticket, "tickets"),
        row(CredentialKind::Token, "tokens"),
    ];
    console.line("");
    let heads = [
        "VALIDATIONS",
        "  COUNT",
        "  50 %",
        "  90 %",
        "  99 %",
        "  ALL",
    ];
    write_table(console, heads, &rows);
}

fn seconds(durations: &DurationHistogram) -> Value {
    let mut object = json!({
        "count": durations.count(),
        "sum_seconds": durations.sum.as_secs_f64(),
    });
    for percent in PERCENTILES {
        let value = durations.percentile(percent).map(|d| d.as_secs_f64());
        object[format!("p{percent}_seconds")] = json!(value);
    }
    object
}
