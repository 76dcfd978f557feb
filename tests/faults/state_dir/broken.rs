//! Removes the state directory, replaces it, or changes its owner or mode while processes use it.

use crate::state_dir::mounts::Mounts;
use crate::state_dir::site::{Site, complaints, make_own, print_row, source, uid_of_host};
use nix::unistd::{Uid, chown, geteuid};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use test_support::libsasl2::{Driver, code};
use test_support::scratch::set_mode;

/// A fault of the state directory, and how it is mended.
struct Fault {
    name: &'static str,
    /// The remedy that the log must name, and how many of the four processes that log in meanwhile
    /// log it: the last one is new, and some faults are only noticed by new processes. `None` if
    /// the fault mends itself.
    remedy: Option<(&'static str, usize)>,
    /// Whether the sessions are lost for good.
    is_removed: bool,
    break_it: fn(&Path, &Mounts),
    mend: fn(&Path, &Mounts),
}

fn aside(state: &Path) -> std::path::PathBuf {
    state.with_extension("aside")
}

fn move_away(state: &Path) {
    fs::rename(state, aside(state)).expect("moving it away");
}

fn move_back(state: &Path) {
    fs::rename(aside(state), state).expect("moving it back");
}

fn give_to(state: &Path, uid: Uid) {
    chown(state, Some(uid), None).expect("giving it away");
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "removed",
        remedy: None,
        is_removed: true,
        break_it: |state, _| fs::remove_dir_all(state).expect("removing it"),
        mend: |_, _| {},
    },
    Fault {
        name: "replaced by a file",
        remedy: Some(("is not a directory; remove it", 4)),
        is_removed: false,
        break_it: |state, _| {
            move_away(state);
            fs::write(state, "").expect("a file in its place");
        },
        mend: |state, _| {
            fs::remove_file(state).expect("removing the file");
            move_back(state);
        },
    },
    Fault {
        name: "replaced by a link to it",
        remedy: Some(("is not a directory; remove it", 1)),
        is_removed: false,
        break_it: |state, _| {
            move_away(state);
            symlink(aside(state), state).expect("a link in its place");
        },
        mend: |state, _| {
            fs::remove_file(state).expect("removing the link");
            move_back(state);
        },
    },
    Fault {
        name: "replaced by another, and put back",
        remedy: None,
        is_removed: false,
        break_it: |state, _| {
            move_away(state);
            fs::create_dir(state).expect("another one");
            set_mode(state, 0o700);
            if geteuid().is_root() {
                give_to(state, uid_of_host());
            }
        },
        mend: |state, _| {
            fs::remove_dir_all(state).expect("removing the other one");
            move_back(state);
        },
    },
    Fault {
        name: "made read-only by a mount",
        remedy: Some(("writable", 3)),
        is_removed: false,
        break_it: |state, mounts| {
            let state = state.display();
            mounts.run(&format!(
                "mount --bind {state} {state}; mount -o remount,ro,bind {state}"
            ));
        },
        mend: |state, mounts| mounts.run(&format!("umount {}", state.display())),
    },
    Fault {
        name: "without rights",
        remedy: Some(("look to its rights", 4)),
        is_removed: false,
        break_it: |state, _| set_mode(state, 0),
        mend: |state, _| set_mode(state, 0o700),
    },
    Fault {
        name: "open to others",
        remedy: Some(("remove it with all that is in it", 1)),
        is_removed: false,
        break_it: |state, _| set_mode(state, 0o777),
        mend: |state, _| set_mode(state, 0o700),
    },
    Fault {
        name: "of another owner",
        remedy: Some(("chown it to uid", 4)),
        is_removed: false,
        break_it: |state, _| give_to(state, Uid::from_raw(0)),
        mend: |state, _| give_to(state, uid_of_host()),
    },
];

/// Observations while the directory was broken.
#[derive(Default)]
struct Seen {
    logins: usize,
    refused: usize,
    log: Vec<String>,
}

/// Logs in with new tickets and collects the log lines about faults.
///
/// All new tickets must be accepted, and their sessions must be cached by the process, except for
/// the one login in which the process notices that its store is gone.
fn log_in(site: &Site, driver: &mut Driver, seen: &mut Seen) {
    let mut refused = 0;
    for number in 0..5 {
        let ticket = format!("PT-{number}-new-to-{}-{}", driver.pid(), seen.logins);
        site.arm(&ticket, "alice");
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        let again = driver.ticket(&ticket);
        if again.code() == code::OK {
            assert_eq!(site.asked(&ticket), 1);
        } else {
            assert_eq!(again.reason(), "ticket_refused", "{again:?}");
            refused += 1;
        }
        seen.log
            .extend([&answer, &again].into_iter().flat_map(complaints));
        seen.logins += 2;
    }
    assert!(refused <= 1);
    seen.refused += refused;
}

/// Applies a fault to a state directory that three processes use, and mends it.
fn test_fault(site: &Site, fault: &Fault, number: usize) {
    let name = fault.name;
    let state = site.run_dir().join(format!("state-{number}"));
    make_own(&site.scratch, &state);
    let mounts = Mounts::new(site);
    let start = || site.driver_at(&state, &mounts.enter());
    let cached = format!("PT-{number}-cached");
    site.arm(&cached, "alice");
    let mut drivers = [start(), start(), start()];
    assert_eq!(drivers[0].ticket(&cached).code(), code::OK);
    for driver in &mut drivers {
        assert_eq!(source(&driver.ticket(&cached)), "host", "{name}");
    }
    (fault.break_it)(&state, &mounts);

    let mut seen = Seen::default();
    for driver in drivers.iter_mut().chain([&mut start()]) {
        log_in(site, driver, &mut seen);
        let answer = driver.ticket(&cached);
        let is_refused = answer.reason() == "ticket_refused";
        assert!(
            answer.code() == code::OK || is_refused,
            "{name}: {answer:?}"
        );
        seen.log.extend(complaints(&answer));
        seen.refused += usize::from(is_refused);
        seen.logins += 1;
    }
    if let Some((remedy, reporters)) = fault.remedy {
        let log = seen.log.iter().filter(|line| line.contains(remedy));
        assert_eq!(log.count(), reporters, "{name}: {:#?}", seen.log);
    }

    (fault.mend)(&state, &mounts);
    let [one, other, third] = &mut drivers;
    let is_shared = site.is_shared(one, other) && site.is_shared(third, one);
    assert!(is_shared, "{name}: {}", site.kit.syslog().tail());
    for driver in drivers.iter_mut().chain([&mut start()]) {
        let answer = driver.ticket(&cached);
        let is_cached = source(&answer) == "host" && answer.code() == code::OK;
        assert_eq!(is_cached, !fault.is_removed, "{name}: {answer:?}");
    }
    print_row(
        &format!("state directory {name} while in use"),
        seen.logins,
        &format!(
            "{} logins by a cached ticket were asked for a new one",
            seen.refused
        ),
        match fault.is_removed {
            true => "what was removed",
            false => "nothing; who began a session meanwhile is asked for a new ticket once",
        },
    );
}

#[test]
fn logins_succeed_with_a_broken_state_directory_and_it_is_used_again_once_mended() {
    let site = Site::new("broken");
    // Root in a user namespace has all permissions, and no other user to change the owner to.
    let for_root_only = ["without rights", "of another owner"];
    let is_possible = |fault: &&Fault| geteuid().is_root() || !for_root_only.contains(&fault.name);
    std::thread::scope(|scope| {
        for (number, fault) in FAULTS.iter().filter(is_possible).enumerate() {
            let site = &site;
            scope.spawn(move || test_fault(site, fault, number));
        }
    });
}
