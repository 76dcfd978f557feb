//! A ticket or a token that is known, beside a password that saslauthd has in its cache: both through the real
//! libsasl2, in a host of a few lines.

use crate::cached_saslauthd::CachedSaslauthd;
use crate::mail::{Mail, PASSWORD};
use crate::measure::{Series, rounds};
use crate::store::{Maker, Size, Store, USED};
use crate::table::{Better, Row};
use crate::tokens::Tokens;
use test_support::libsasl2::{Driver, Kit};
use test_support::scratch::Scratch;

const ROUNDS: usize = 41;
/// Logins of one round: some hundredths of a second.
const KNOWN: usize = 5_000;
const CACHED: usize = 1_000;

/// The rows of the table, and what stores of so many sessions take.
pub fn rows(mail: &Mail) -> (Vec<Row>, Vec<Size>) {
    let scratch = Scratch::new("bench-known");
    let kit = Kit::new(&scratch);
    let saslauthd = CachedSaslauthd::start(&mail.scratch, &mail.cyrus);
    let mux = saslauthd.mux();
    let options = [("pwcheck_method", "saslauthd"), ("saslauthd_path", &mux)];
    let mut asking = kit.driver(&scratch, &options);
    // From here on it is answered from the cache.
    check(&mut asking, &mail.users[0], 2);

    let stores = Maker {
        scratch: &scratch,
        kit: &kit,
    };
    let store = |name, count| stores.of_tickets(mail, name, count);
    let (mut million, mut written) = (store("d", 1_000_000), store("e", 100_000));
    let (mut ten_thousand, mut hundred_thousand) = (store("b", 10_000), store("c", 100_000));
    let (mut one, mut thousand) = (store("i", 1), store("a", 1_000));
    let mut aloud = store("j", 1);
    let mut rate = Series::default();
    let tokens = Tokens::minted("RS256", USED);
    let [
        mut token,
        mut among_ten_thousand,
        mut among_hundred_thousand,
    ] = [("f", 1), ("g", 10_000), ("h", 100_000)]
        .map(|(name, count)| stores.of_tokens(&tokens, name, count));

    let [
        cached,
        first,
        of_thousand,
        second,
        third,
        of_million,
        contended,
        logged,
        token,
        token_second,
        token_third,
    ] = rounds(
        ROUNDS,
        [
            &mut || check(&mut asking, &mail.users[0], CACHED),
            &mut || one.walk(KNOWN),
            &mut || thousand.walk(KNOWN),
            &mut || ten_thousand.walk(KNOWN),
            &mut || hundred_thousand.walk(KNOWN),
            &mut || million.walk(KNOWN),
            &mut || {
                let (time, opened) = written.walk_beside_a_writer(KNOWN);
                rate.push(opened);
                time
            },
            &mut || aloud.walk_aloud(KNOWN),
            &mut || token.walk(KNOWN),
            &mut || among_ten_thousand.walk(KNOWN),
            &mut || among_hundred_thousand.walk(KNOWN),
        ],
    );
    let row = |what: &str, times: &Series| {
        let beside = ("saslauthd, cached", &cached);
        Row::new(what, "µs", times, beside, Better::Less)
    };
    let beside_writer = format!("… while {:.0} a second open", rate.median());
    let sizes = [one, thousand, ten_thousand, hundred_thousand, million];
    let rows = vec![
        row("known ticket, 1 session", &first),
        row("… 1,000 sessions", &of_thousand),
        row("… 10,000 sessions", &second),
        row("… 100,000 sessions", &third),
        row("… 1,000,000 sessions", &of_million),
        row(&beside_writer, &contended),
        row("… 1, and its line to the log", &logged),
        row("known token, 1 session", &token),
        row("… 10,000 sessions", &token_second),
        row("… 100,000 sessions", &token_third),
    ];
    (rows, sizes.iter().map(Store::size).collect())
}

/// So many checks of a password: the median in microseconds.
fn check(driver: &mut Driver, user: &str, count: usize) -> f64 {
    let time = driver.median(&format!("checkpass {count} {user} {PASSWORD}"));
    time.as_secs_f64() * 1e6
}
