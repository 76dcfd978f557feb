//! Tests of random names with all kinds of bytes, with tokens and the real imapd.

use super::mail_env::{MailEnv, Presented, Way};
use super::oracle::{Mapping, Names, VirtualDomains};
use test_support::dice::Dice;

/// The configurations, used in turn.
const CONFIGURATIONS: [Names; 3] = [
    Names {
        virtual_domains: VirtualDomains::UserId,
        mapping: Mapping::None,
    },
    Names {
        virtual_domains: VirtualDomains::On,
        mapping: Mapping::Strip,
    },
    Names {
        virtual_domains: VirtualDomains::Off,
        mapping: Mapping::Realm,
    },
];

/// Names of other users, and words that imapd reserves, of which most names consist.
const WORDS: [&str; 16] = [
    "alice",
    "bob@other.fr",
    "alice@univ.fr",
    "bob@guests.fr",
    "cyrus",
    "anyone",
    "anonymous",
    "group:mail",
    "other.fr!user.bob",
    "user.alice",
    "UNIV\\alice",
    "GUESTS\\bob",
    "bob%other.fr",
    "@univ.fr",
    "%univ.fr",
    "@guests.fr",
];

/// Characters with a meaning for imapd, SASL, IMAP or the plugin.
const SPECIAL: &[u8] = b"%@!^+-.\\/:*?&\"'(){}[]<>|;,=~#$_`";

/// The number of names: `SSO_NAMES`, or `default`.
fn count(usual: usize) -> usize {
    let given = std::env::var("SSO_NAMES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A name of at least one character. Most characters are allowed in a principal, a few are not.
fn name(dice: &mut Dice) -> String {
    let mut name: Vec<char> = match dice.roll(8) {
        // Arbitrary characters.
        0 => (0..=dice.roll(12)).map(|_| character(dice)).collect(),
        // The maximum length for imapd, or one more.
        1 => vec!['a'; 79 + dice.roll(3)],
        // Two words.
        2 | 3 => [*dice.pick(&WORDS), *dice.pick(&WORDS)]
            .concat()
            .chars()
            .collect(),
        _ => dice.pick(&WORDS).chars().collect(),
    };
    for _ in 0..dice.roll(3) {
        let place = dice.roll(name.len());
        match dice.roll(3) {
            0 => name[place] = character(dice),
            1 => name.insert(place, character(dice)),
            _ if name.len() > 1 => drop(name.remove(place)),
            _ => name.push(character(dice)),
        }
    }
    name.into_iter().collect()
}

fn character(dice: &mut Dice) -> char {
    match dice.roll(8) {
        0..=3 => char::from(*dice.pick(SPECIAL)),
        4..=6 => char::from(b'!' + u8::try_from(dice.roll(94)).expect("ASCII")),
        _ => {
            let code = u32::try_from(dice.roll(0x1_0000)).expect("a code point");
            char::from_u32(code).unwrap_or('\u{e9}')
        }
    }
}

fn names_open_what_they_spell(total: usize) {
    let seed = Dice::seed(4711);
    let (mut opened, mut refused) = (0, 0);
    for (turn, names) in CONFIGURATIONS.into_iter().enumerate() {
        let mut dice = Dice::of(seed, turn);
        let site = MailEnv::new(&format!("every-byte-{turn}"), &names.lines());
        site.mark_inboxes(&names.victims());
        for number in 0..total.div_ceil(CONFIGURATIONS.len()) {
            let principal = name(&mut dice);
            let told = || format!("seed {seed}, {names:?}, name {number}: {principal:?}");
            let owner = names.owner(&principal);
            let presented = Presented {
                principal: &principal,
                authcid: None,
                authzid: None,
            };
            let login = site.log_in(Way::OAuthBearer, presented, &owner);
            if let Some(login) = &login {
                assert_eq!(login.user, owner, "{}\n{}", told(), site.cyrus.log().tail());
                let is_owner = |found: &String| *found == owner;
                assert!(login.owners.iter().all(is_owner), "{login:?} {}", told());
                assert_ne!(owner, "cyrus", "an administrator: {}", told());
                opened += 1;
            } else {
                refused += 1;
            }
            let explained = site.explain(&principal, &[]);
            let user = (explained.field("outcome") == "accepted").then(|| explained.field("user"));
            assert_eq!(
                user,
                login.map(|login| login.user),
                "{}\n{explained:?}",
                told()
            );
        }
        site.assert_no_process_aborted(0);
    }
    println!("seed {seed}: {opened} names opened their own mailbox, {refused} were refused");
    assert!(
        opened * 10 > total && refused * 10 > total,
        "{opened}, {refused}"
    );
}

#[test]
fn two_hundred_random_names_open_only_their_own_mailbox() {
    names_open_what_they_spell(200);
}

#[test]
#[ignore = "make names: thousands of names"]
fn thousands_of_random_names_open_only_their_own_mailbox() {
    names_open_what_they_spell(count(3_000));
}
