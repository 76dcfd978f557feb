//! Tests of what one client's tickets cost other clients, with a real CAS: tickets that CAS leaves
//! unanswered, and tickets that strangers type into the password form of a webmail.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use test_support::cas::CasServer;
use test_support::daemon::{self, Daemon};
use test_support::libsasl2::site::Site;
use test_support::libsasl2::{Answer, Driver, caspt, code, hex};
use test_support::portal::Portal;
use test_support::scratch::cyrus_user;
use test_support::selective_cas::{SelectiveCas, UNANSWERED};
use test_support::wait::{PATIENCE, wait_until};

const IMAP: &str = "imap://localhost";
const WEBMAIL: &str = "192.0.2.7;4711";
const ATTACKER: &str = "198.51.100.66;1";

const USERS: usize = 20;
const LOGINS: usize = 120;
const ATTACKERS: usize = 8;

/// The time-out of CAS in seconds, for which an attacker's ticket occupies a connection.
const TIMEOUT: &str = "3";

/// A CAS that leaves chosen tickets unanswered, and a portal with users.
struct CrowdEnv {
    portal: Portal,
    front: SelectiveCas,
    // Dropped after the relay before it.
    _cas: CasServer,
    site: Site,
}

/// The address of a client, its mechanism, and its user names.
#[derive(Clone, Copy, Debug)]
struct From {
    address: &'static str,
    mechanism: &'static str,
    is_named: bool,
}

fn from(address: &'static str, mechanism: &'static str, is_named: bool) -> From {
    From {
        address,
        mechanism,
        is_named,
    }
}

impl CrowdEnv {
    fn new(name: &str) -> Self {
        let site = Site::new(name);
        let cas = CasServer::start(&site.scratch, &site.authority);
        Self {
            portal: Portal::start(&site.authority, &cas, "webmail"),
            front: SelectiveCas::start(&site.authority, &cas),
            _cas: cas,
            site,
        }
    }

    /// A server for a client at this address; `state` is the host's state directory.
    fn driver(&self, address: &str, state: &str, other: &[(&str, &str)]) -> Driver {
        let remote = format!("SSO_TEST_REMOTE={address}");
        let state = self.site.scratch.join(state).display().to_string();
        let (url, proxies) = (self.front.url(), self.portal.pgt_url());
        let mut options = other.to_vec();
        // The first value of an option counts.
        options.extend([
            ("caspt_url", url.as_str()),
            ("caspt_proxies", &proxies),
            ("caspt_timeout", TIMEOUT),
            ("sso_plain", "yes"),
            ("sso_state_dir", &state),
        ]);
        self.site.driver_under(&["env", &remote], &options)
    }

    /// `sasl-sso serve`, which receives no addresses.
    fn daemon(&self) -> Daemon {
        let scratch = &self.site.scratch;
        let state = scratch.create_dir("daemon-state");
        scratch.give_to_cyrus(&state);
        let conf = self.site.conf(&[
            ("caspt_url", &self.front.url()),
            ("caspt_proxies", &self.portal.pgt_url()),
            ("caspt_timeout", TIMEOUT),
            ("sso_state_dir", &state.display().to_string()),
        ]);
        let mux = daemon::mux(scratch);
        let mut command = daemon::command(scratch, &conf, self.site.kit.syslog());
        command.arg("--socket").arg(&mux);
        command.args(["--user", &cyrus_user()]);
        Daemon::start_with(scratch, &mux, command)
    }

    /// Valid tickets of all users in turn, with their names.
    fn tickets(&self, count: usize) -> Vec<(String, String)> {
        let ticket = |number: usize| {
            let user = format!("user{}", number % USERS);
            let ticket = self.portal.proxy_ticket(&user, IMAP);
            (user, ticket)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|first| scope.spawn(move || (first..count).step_by(4).map(ticket).collect()))
                .collect();
            let tickets: Vec<Vec<_>> = threads
                .into_iter()
                .map(|thread| thread.join().expect("tickets"))
                .collect();
            tickets.into_iter().flatten().collect()
        })
    }
}

fn log_in(driver: &mut Driver, from: From, name: &str, ticket: &str) -> Answer {
    let name = if from.is_named { name } else { "" };
    let message = format!("\0{name}\0{ticket}");
    match from.mechanism {
        "CASPT" => driver.ask(&caspt(message.as_bytes())),
        mechanism => driver.ask(&format!("login {mechanism} {}", hex(message.as_bytes()))),
    }
}

/// The results of the logins of the portal's users.
#[derive(Default)]
struct Report {
    times: Vec<Duration>,
    failures: Vec<String>,
}

impl Report {
    /// Logs in with all these tickets, from three processes at once, with pauses.
    fn of(site: &CrowdEnv, from: From, state: &str, tickets: &[(String, String)]) -> Self {
        let part = |first: usize| {
            let mut driver = site.driver(from.address, state, &[]);
            let mut report = Self::default();
            for (user, ticket) in tickets.iter().skip(first).step_by(3) {
                let start = Instant::now();
                let answer = log_in(&mut driver, from, user, ticket);
                report.times.push(start.elapsed());
                if answer.code() != code::OK {
                    report.failures.push(answer.reason());
                }
                thread::sleep(Duration::from_millis(150));
            }
            report
        };
        let mut sum = Self::default();
        thread::scope(|scope| {
            let threads = [0, 1, 2].map(|first| scope.spawn(move || part(first)));
            for thread in threads {
                let report = thread.join().expect("logins");
                sum.times.extend(report.times);
                sum.failures.extend(report.failures);
            }
        });
        sum.times.sort();
        sum
    }

    /// The figures as text.
    fn text(&self) -> String {
        let at = |share: usize| self.times[(self.times.len() - 1) * share / 100];
        format!(
            "{} of {} accepted; 50 % within {:?}, 99 % within {:?}, all within {:?}",
            self.times.len() - self.failures.len(),
            self.times.len(),
            at(50),
            at(99),
            at(100)
        )
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Eight threads that send bad tickets without a pause.
#[derive(Clone, Copy)]
struct Attack<'a> {
    from: From,
    /// The name of all tickets; without one, each ticket has a new name.
    name: Option<&'a str>,
    /// The end of each ticket.
    suffix: &'a str,
    state: &'a str,
    options: &'a [(&'a str, &'a str)],
}

/// The number of tickets of an attack for each reason.
type Ends = Mutex<HashMap<String, usize>>;

fn count(ends: &Ends, reason: &str) -> usize {
    let ends = ends.lock().expect("the ends");
    ends.get(reason).copied().unwrap_or_default()
}

impl<'a> Attack<'a> {
    fn new(from: From, suffix: &'a str, state: &'a str) -> Self {
        Self {
            from,
            name: None,
            suffix,
            state,
            options: &[],
        }
    }

    /// Attacks while `what` runs, which receives the results so far.
    fn during<T>(self, site: &CrowdEnv, what: impl FnOnce(&Ends) -> T) -> (T, Ends) {
        let (has_ended, ends) = (AtomicBool::new(false), Ends::default());
        let attack = |number: usize| {
            let mut driver = site.driver(self.from.address, self.state, self.options);
            for round in 0.. {
                if has_ended.load(Ordering::SeqCst) {
                    break;
                }
                let ticket = format!("PT-{number}-{round}-{}", self.suffix);
                let new = format!("stranger-{number}-{round}");
                let name = self.name.unwrap_or(&new);
                let reason = log_in(&mut driver, self.from, name, &ticket).reason();
                if !["server_timeout", "ticket_refused"].contains(&reason.as_str()) {
                    // A login fails at once if CAS is not asked.
                    thread::sleep(Duration::from_millis(20));
                }
                *ends.lock().expect("the ends").entry(reason).or_default() += 1;
            }
        };
        let done = thread::scope(|scope| {
            for number in 0..ATTACKERS {
                let attack = &attack;
                scope.spawn(move || attack(number));
            }
            // The attack ends with `what`, even if that panics.
            let _end = OnDrop(|| has_ended.store(true, Ordering::SeqCst));
            what(&ends)
        });
        println!("the attack: {ends:?}");
        (done, ends)
    }
}

#[test]
fn unanswered_tickets_of_one_client_cost_others_no_login() {
    let site = CrowdEnv::new("crowd");
    let webmail = from(WEBMAIL, "CASPT", true);
    let baseline = Report::of(&site, webmail, "usual", &site.tickets(LOGINS));
    println!("without an attack: {}", baseline.text());
    assert_eq!(baseline.failures, [""; 0]);
    for (number, (attacker, users)) in [
        (from(ATTACKER, "CASPT", false), webmail),
        // Each connection has a new name.
        (from(ATTACKER, "CASPT", true), webmail),
        (from(WEBMAIL, "CASPT", true), webmail),
        (from(WEBMAIL, "PLAIN", true), from(WEBMAIL, "PLAIN", true)),
        // Attacker and victims differ only in their tickets.
        (from(WEBMAIL, "CASPT", false), from(WEBMAIL, "CASPT", false)),
    ]
    .into_iter()
    .enumerate()
    {
        let tickets = site.tickets(LOGINS);
        let state = format!("attacked-{number}");
        let log_all_in = |_: &Ends| Report::of(&site, users, &state, &tickets);
        let attack = Attack::new(attacker, UNANSWERED, &state);
        let (report, ends) = attack.during(&site, log_all_in);
        println!("{users:?} under {attacker:?}: {}", report.text());
        assert!(count(&ends, "server_timeout") > ATTACKERS, "{ends:?}");
        assert!(
            report.failures.len() <= LOGINS / 100,
            "{:?}",
            report.failures
        );
    }
}

#[test]
fn unanswered_tickets_at_the_daemon_cost_others_no_login() {
    let site = CrowdEnv::new("daemon");
    let daemon = site.daemon();
    let users = site.tickets(LOGINS);
    let ask = |name: &str, ticket: &str| daemon.ask(name, ticket, "imap");
    let has_ended = AtomicBool::new(false);
    let attack = |number: usize| {
        for round in 0.. {
            if has_ended.load(Ordering::SeqCst) {
                break;
            }
            // Each ticket has a new name, because the daemon receives no address.
            let name = format!("stranger-{number}-{round}");
            let ticket = format!("PT-{number}-{round}-{UNANSWERED}");
            assert_eq!(ask(&name, &ticket), None);
            thread::sleep(Duration::from_millis(20));
        }
    };
    let accepted = thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let attack = &attack;
            scope.spawn(move || attack(number));
        }
        let _end = OnDrop(|| has_ended.store(true, Ordering::SeqCst));
        let is_accepted = |(user, ticket): &&(String, String)| {
            thread::sleep(Duration::from_millis(80));
            ask(user, ticket).as_deref() == Some("OK")
        };
        users.iter().filter(is_accepted).count()
    });
    assert!(accepted >= LOGINS - LOGINS / 100, "{accepted}");
}

#[test]
fn login_succeeds_after_an_attacker_was_the_only_client() {
    let site = CrowdEnv::new("alone");
    // Attacker and victims differ only in their tickets, and there are no answers for others.
    let everybody = from(WEBMAIL, "CASPT", true);
    let tickets = site.tickets(8);
    let mut driver = site.driver(WEBMAIL, "state", &[]);
    let log_in_now_and_then = |_: &Ends| {
        let mut failures = Vec::new();
        for (user, ticket) in &tickets {
            thread::sleep(Duration::from_millis(4_500));
            let answer = log_in(&mut driver, everybody, user, ticket);
            if answer.code() != code::OK {
                failures.push(answer.reason());
            }
        }
        failures
    };
    let attack = Attack::new(everybody, UNANSWERED, "state");
    let (failures, ends) = attack.during(&site, log_in_now_and_then);
    assert_eq!(failures, [""; 0]);
    assert!(count(&ends, "server_timeout") > ATTACKERS, "{ends:?}");
}

#[test]
fn client_with_unanswered_tickets_only_is_cut_off() {
    let site = CrowdEnv::new("cut");
    let attack = Attack {
        name: Some("mallory"),
        options: &[("caspt_timeout", "1")],
        ..Attack::new(from(ATTACKER, "CASPT", true), UNANSWERED, "state")
    };
    let tickets = site.tickets(1);
    let start = Instant::now();
    let ((), ends) = attack.during(&site, |ends| {
        let is_cut_off = || count(ends, "budget_spent") > 0;
        assert!(wait_until(PATIENCE, is_cut_off), "{ends:?}");
        // The time-out is not the fault of CAS.
        let mut driver = site.driver(WEBMAIL, "state", &[("caspt_timeout", "1")]);
        let (user, ticket) = &tickets[0];
        let answer = log_in(&mut driver, from(WEBMAIL, "CASPT", true), user, ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        // The attacker stays cut off although all threads try at once.
        thread::sleep(Duration::from_secs(8));
    });
    // The size of the name's bucket, concurrent tickets, and what was refilled meanwhile.
    let refilled = usize::try_from(start.elapsed().as_secs() / 2).expect("seconds") + 1;
    let unanswered = count(&ends, "server_timeout");
    assert!(unanswered <= 30 + ATTACKERS + refilled, "{unanswered}");
}

#[test]
fn invented_tickets_in_a_password_form_delay_no_valid_ticket() {
    let site = CrowdEnv::new("form");
    let options = [("caspt_rate_limit", "60"), ("caspt_timeout", "20")];
    let mut webmail = site.driver(WEBMAIL, "state", &options);
    let mut failures = |mechanism, what: &str| {
        let mut failures = Vec::new();
        for (user, ticket) in site.tickets(USERS) {
            let ticket = format!("{ticket}{what}");
            let answer = log_in(&mut webmail, from(WEBMAIL, mechanism, true), &user, &ticket);
            if answer.code() != code::OK {
                failures.push(answer.reason());
            }
        }
        failures
    };
    assert_eq!(failures("PLAIN", ""), [""; 0]);
    let attack = Attack {
        options: &options,
        ..Attack::new(from(WEBMAIL, "PLAIN", true), "made-up", "state")
    };
    attack.during(&site, |ends| {
        let is_limited = || count(ends, "budget_spent") > ATTACKERS;
        assert!(wait_until(PATIENCE, is_limited), "{ends:?}");
        // The attacker also uses the users' own names.
        assert_eq!(failures("PLAIN", "-made-up").len(), USERS);
        assert_eq!(failures("CASPT", ""), [""; 0]);
        assert_eq!(failures("PLAIN", ""), [""; 0]);
    });
}

#[test]
fn only_client_logs_in_again_when_cas_answers_again() {
    let site = CrowdEnv::new("only");
    let webmail = from(WEBMAIL, "CASPT", false);
    let tickets = site.tickets(4);
    let mut driver = site.driver(WEBMAIL, "state", &[]);
    let mut log_in = |number: usize| {
        let (user, ticket) = &tickets[number];
        log_in(&mut driver, webmail, user, ticket)
    };
    assert_eq!(log_in(0).code(), code::OK);
    site.front.set_answers(false);
    for _ in 0..3 {
        assert_eq!(log_in(1).reason(), "server_timeout");
    }
    // The trial fails, and afterwards nobody waits.
    assert_eq!(log_in(1).reason(), "server_avoided");
    let asked = site.front.connections();
    for _ in 0..20 {
        assert_eq!(log_in(1).reason(), "server_avoided");
    }
    assert!(site.front.connections() <= asked + 1);
    // Cached sessions are not affected.
    assert_eq!(log_in(0).code(), code::OK);
    site.front.set_answers(true);
    let is_back = || log_in(2).code() == code::OK;
    assert!(wait_until(Duration::from_secs(10), is_back));
    assert_eq!(log_in(3).code(), code::OK);
}
