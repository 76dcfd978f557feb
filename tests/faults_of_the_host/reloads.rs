//! Loaded and unloaded, begun and ended, a thousand times.

use super::world::{KNOWN, World, ends, message, row, settled};
use crate::libsasl2::token_site::oauthbearer;
use crate::libsasl2::{code, hex};

const TIMES: usize = 1_000;

/// What one round more may take, in kB: less than the smallest thing that could be forgotten
/// each time would take a thousand times.
const NOTHING: usize = 512;

#[test]
fn a_thousand_ends_and_beginnings_take_nothing() {
    let world = World::new("reloads");
    // libsasl2 forgets some bytes of its own at each end; a host without the plugin shows how many.
    let mut bare = world.site.kit.driver(&world.site.scratch, &[]);
    let mut driver = world.driver(&[]);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    let known = message(KNOWN);
    let token = hex(&oauthbearer(&world.token(0)));
    driver.ask("quiet 1");
    let mut turn = |times: usize| {
        let all = ends(&mut driver, &format!("reloads {times} CASPT {known}"));
        assert_eq!(all, [times, 0, 0, 0]);
        let some = times / 10;
        let all = ends(&mut driver, &format!("reloads {some} OAUTHBEARER {token}"));
        assert_eq!(all, [some, 0, 0, 0]);
        assert_eq!(driver.ask(&format!("loads {times}")).last, ["loads", "0"]);
        settled(&driver)
    };
    let mut turn_bare = |times: usize| {
        for _ in 0..times {
            bare.ask("reload");
        }
        settled(&bare).anonymous
    };
    let (before, bare_before) = (turn(TIMES / 4), turn_bare(TIMES / 4));
    let (after, bare_after) = (turn(TIMES), turn_bare(TIMES));
    println!("{before:?} {after:?} without the plugin {bare_before} {bare_after}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    let own = bare_after.saturating_sub(bare_before) * 11 / 10;
    assert!(
        after.anonymous <= before.anonymous + own + NOTHING,
        "{before:?} {after:?} {own}"
    );
    row(
        "sasl_done and sasl_server_init with a login each, and dlopen and dlclose",
        TIMES * 21 / 10,
        "all in",
        &format!(
            "nothing: {} kB before, {} kB after, of which libsasl2's own {own} kB",
            before.anonymous, after.anonymous
        ),
    );
}
