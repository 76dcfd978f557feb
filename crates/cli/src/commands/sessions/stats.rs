//! `sasl-sso sessions stats`: how it goes.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::{Value, json};

use super::snapshot::{Stats, Sums, failures, outcomes, word};
use super::store::Site;
use super::times::to_three_digits;
use super::{prometheus, table};
use crate::commands::Status;
use crate::imapd_conf::Place;
use crate::term::console::Console;
use sso_core::credential::CredentialKind;
use sso_core::error::Reason;
use sso_core::metrics::{CREDENTIALS, Counters, Decider, DurationHistogram};

/// Counts of all logins since boot, how long validations take, and the store.
///
/// Every process of the host counts its logins here, whichever service it is of. A
/// login is counted once, when its line goes to the log. Exit status: as the others, and 1
/// if there are no counters but a store, of which it then tells alone.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// One object
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Prometheus' text format, for node exporter's textfile collector
    #[arg(long)]
    prometheus: bool,
}

/// The percentiles that are shown.
const PERCENTILES: [u64; 4] = [50, 90, 99, 100];

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Status, String> {
    let site = Site::enter(&arguments.place)?;
    let counters = Counters::open(site.state_dir());
    let usage = match site.find_store()? {
        Some(store) => Some(store.usage()?),
        None => None,
    };
    if usage.is_none() && counters.is_err() {
        return Err(site.nothing());
    }
    let mut status = Status::Good;
    if let Err(problem) = &counters {
        let directory = site.state_dir().display();
        console.complain(format_args!(
            "sessions: {directory}: there are no counters of this version: {problem}; see the \
             log for why logins are not counted"
        ));
        status = Status::Bad;
    }
    let stats = Stats {
        counters: counters.ok(),
        usage,
    };
    if arguments.json {
        console.line(format_args!("{:#}", stats.object()));
    } else if arguments.prometheus {
        console.line(prometheus::text(&stats).trim_end());
    } else {
        stats.write(console);
    }
    Ok(status)
}

impl Stats {
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
                                "credential": word(kind),
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
                validations[word(Some(kind))] = seconds(&counters.validations(kind));
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
            let sums = Sums(counters);
            let row = |name: &str, of: &dyn Fn(Option<CredentialKind>) -> u64| {
                let [tickets, tokens, none] = CREDENTIALS.map(|kind| of(kind).to_string());
                [name.to_owned(), tickets, tokens, none]
            };
            let rows: Vec<_> = outcomes()
                .map(|(outcome, name)| row(name, &|kind| sums.of_outcome(kind, outcome)))
                .collect();
            table::write(
                console,
                ["LOGINS", "  TICKETS", "  TOKENS", "  NEITHER"],
                &rows,
            );
            let rows: Vec<_> = Decider::ALL
                .into_iter()
                .map(|decider| row(decider.code(), &|kind| sums.of_decider(kind, decider)))
                .collect();
            console.line("");
            table::write(
                console,
                ["DECIDED BY", "  TICKETS", "  TOKENS", "  NEITHER"],
                &rows,
            );
            write_reasons(console, &sums);
            write_validations(console, counters);
        }
        if let Some(usage) = &self.usage {
            console.line("");
            let row = |(table, count, most): &(&str, u64, u64)| {
                [(*table).to_owned(), count.to_string(), most.to_string()]
            };
            let rows: Vec<_> = usage.records.iter().map(row).collect();
            table::write(console, ["STORE", "  RECORDS", "  AT MOST"], &rows);
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

/// Why logins failed, if some did.
fn write_reasons(console: &mut Console, sums: &Sums<'_>) {
    let mut rows = Vec::new();
    for reason in Reason::ALL {
        let count = sums.of_reason(*reason);
        if count > 0 {
            let outcome = reason.kind().code().to_owned();
            rows.push([reason.code().to_owned(), outcome, count.to_string()]);
        }
    }
    if !rows.is_empty() {
        console.line("");
        table::write(console, ["FAILED FOR", "OUTCOME", "  LOGINS"], &rows);
    }
}

/// How long CAS takes, and to verify tokens.
fn write_validations(console: &mut Console, counters: &Counters) {
    let row = |kind, name: &str| {
        let durations = counters.validations(kind);
        let [half, most, nearly_all, all] = PERCENTILES
            .map(|percent| durations.percentile(percent).map(to_three_digits))
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
    table::write(console, heads, &rows);
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
