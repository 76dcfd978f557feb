//! Statistics in Prometheus' text format, for the textfile collector of node exporter.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::time::Duration;

use super::snapshot::{LoginTotals, Snapshot, credential_word, outcomes};
use sso_core::credential::CredentialKind;
use sso_core::error::Reason;
use sso_core::metrics::{CREDENTIALS, Counters, Decider};
use sso_core::session_cache::Usage;

/// The upper bounds of the buckets, in units of 10 µs: 1, 2.5 and 5 of each power of ten, to 50 s.
const BUCKET_BOUNDS: [u64; 19] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000,
];

/// All metrics, with a newline at the end.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(counters) = &snapshot.counters {
        let _ = write_logins(&mut text, &LoginTotals(counters));
        let _ = write_validations(&mut text, counters);
    }
    if let Some(usage) = &snapshot.usage {
        let _ = write_store(&mut text, usage);
    }
    text
}

fn write_header(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}")?;
    writeln!(text, "# TYPE {name} {kind}")
}

fn write_logins(text: &mut String, totals: &LoginTotals<'_>) -> std::fmt::Result {
    let name = "sasl_sso_logins_total";
    let help = "Logins by single sign-on, by what they came with and came to.";
    write_header(text, name, "counter", help)?;
    for kind in CREDENTIALS {
        for (outcome, code) in outcomes() {
            let (credential, count) = (credential_word(kind), totals.by_outcome(kind, outcome));
            writeln!(
                text,
                "{name}{{credential=\"{credential}\",outcome=\"{code}\"}} {count}"
            )?;
        }
    }
    let name = "sasl_sso_decisions_total";
    let help = "The same logins, by what decided on them: a session in memory or in the \
                store of the host, a validation, or none of them.";
    write_header(text, name, "counter", help)?;
    for kind in CREDENTIALS {
        for decider in Decider::ALL {
            let (credential, source) = (credential_word(kind), decider.code());
            let count = totals.by_decider(kind, decider);
            writeln!(
                text,
                "{name}{{credential=\"{credential}\",source=\"{source}\"}} {count}"
            )?;
        }
    }
    let name = "sasl_sso_failures_total";
    let help = "Those that failed, by the reason code of the log; outages are those whose \
                outcome is unavailable.";
    write_header(text, name, "counter", help)?;
    for reason in Reason::ALL {
        let (code, outcome) = (reason.code(), reason.kind().code());
        let count = totals.by_reason(*reason);
        writeln!(
            text,
            "{name}{{outcome=\"{outcome}\",reason=\"{code}\"}} {count}"
        )?;
    }
    let name = "sasl_sso_evicted_sessions_total";
    let help = "Sessions that had to make room for others: raise sso_sessions.";
    write_header(text, name, "counter", help)?;
    writeln!(text, "{name} {}", totals.0.evicted())
}

fn write_validations(text: &mut String, counters: &Counters) -> std::fmt::Result {
    let name = "sasl_sso_validation_seconds";
    let help = "How long CAS takes to answer for a ticket, and how long it takes to verify a \
                token, with what had to be asked for that.";
    write_header(text, name, "histogram", help)?;
    for kind in [CredentialKind::Ticket, CredentialKind::Token] {
        let durations = counters.validations(kind);
        let credential = credential_word(Some(kind));
        let label = format!("credential=\"{credential}\"");
        for bound in BUCKET_BOUNDS.map(|bound| Duration::from_micros(10 * bound)) {
            let (le, count) = (bound.as_secs_f64(), durations.within(bound));
            writeln!(text, "{name}_bucket{{{label},le=\"{le}\"}} {count}")?;
        }
        let count = durations.count();
        writeln!(text, "{name}_bucket{{{label},le=\"+Inf\"}} {count}")?;
        let sum = durations.sum.as_secs_f64();
        writeln!(text, "{name}_sum{{{label}}} {sum}")?;
        writeln!(text, "{name}_count{{{label}}} {count}")?;
    }
    Ok(())
}

fn write_store(text: &mut String, usage: &Usage) -> std::fmt::Result {
    let records = "sasl_sso_store_records";
    let help = "Records in the store of the host, by table, also those that are over.";
    write_header(text, records, "gauge", help)?;
    for (table, count, _) in &usage.records {
        writeln!(text, "{records}{{table=\"{table}\"}} {count}")?;
    }
    let max_records = "sasl_sso_store_records_max";
    let help = "How many records a table may have: sso_sessions, for tickets and tokens.";
    write_header(text, max_records, "gauge", help)?;
    for (table, _, count) in &usage.records {
        writeln!(text, "{max_records}{{table=\"{table}\"}} {count}")?;
    }
    for (name, help, value) in [
        (
            "sasl_sso_store_used_bytes",
            "What the records take.",
            usage.used,
        ),
        (
            "sasl_sso_store_room_bytes",
            "What they may take.",
            usage.room,
        ),
    ] {
        write_header(text, name, "gauge", help)?;
        writeln!(text, "{name} {value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_are_cumulative() {
        let directory = tempfile::tempdir().unwrap();
        let counters = Counters::open_or_create(directory.path()).unwrap();
        for millis in [2, 3, 90_000] {
            counters.count_validation(CredentialKind::Ticket, Duration::from_millis(millis));
        }
        let text = text(&Snapshot {
            counters: Some(counters),
            usage: None,
        });
        for line in [
            "_bucket{credential=\"ticket\",le=\"0.00005\"} 0",
            "_bucket{credential=\"ticket\",le=\"0.0025\"} 1",
            "_bucket{credential=\"ticket\",le=\"50\"} 2",
            "_bucket{credential=\"ticket\",le=\"+Inf\"} 3",
            "_sum{credential=\"ticket\"} 90.005",
            "_count{credential=\"ticket\"} 3",
            "_count{credential=\"token\"} 0",
        ] {
            let line = format!("\nsasl_sso_validation_seconds{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
