//! Disrupts the servers, each in a thread of its own.

use super::clients::Login;
use super::ledger::Event;
use super::login::{Failure, LoginMethod, failure_of};
use super::pool::{BadCredential, Credential, Kind};
use super::run::Run;
use super::servers::{KEYS_REFRESH, USERS, read, user, write};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;
use test_support::daemon::Daemon;
use test_support::dice::Dice;
use test_support::https_server::lock;
use test_support::libsasl2::sasl_sso;
use test_support::wait::wait_until;

/// Time limit for recovery after an outage on a heavily loaded machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(180);

impl Run<'_> {
    /// Stops the CAS server or makes it hang.
    pub fn disrupt_cas(&self, mut dice: Dice) {
        while self.wait_for_next_outage(dice.millis(10_000, 50_000)) {
            // This lock also pauses the threads that obtain tickets.
            let mut cas = write(&self.servers.cas);
            self.ledger.play(Event::CasDown, || {
                if dice.is_one_of(3) {
                    cas.pause();
                    self.outages_end.sleep(dice.millis(2_000, 20_000));
                    cas.resume();
                } else {
                    cas.stop();
                    self.outages_end.sleep(dice.millis(0, 12_000));
                    cas.start_again();
                }
                drop(cas);
                self.until_refused("CAS", |number| {
                    let ticket = format!("PT-{number}-is-it-back");
                    (LoginMethod::Caspt, ticket)
                });
            });
        }
    }

    /// Stops the OpenID provider or rotates its keys.
    pub fn disrupt_issuer(&self, mut dice: Dice) {
        while self.wait_for_next_outage(dice.millis(5_000, 20_000)) {
            if dice.is_one_of(2) {
                self.ledger.play(Event::IssuerDown, || {
                    let mut issuer = write(&self.servers.issuer);
                    issuer.stop();
                    self.outages_end.sleep(dice.millis(0, 15_000));
                    issuer.start_again();
                    drop(issuer);
                    self.until_refused("the issuer", |number| {
                        (
                            LoginMethod::OAuthBearer,
                            self.forged_token("nobody", number),
                        )
                    });
                });
            } else {
                self.rotate_keys(&mut dice);
            }
        }
    }

    fn rotate_keys(&self, dice: &mut Dice) {
        let new = self.servers.generation() + 1;
        let is_withdrawn = |one: &Credential| match one.kind {
            Kind::Token(keys) => keys + 2 <= new,
            Kind::Ticket => false,
        };
        let withdrawn = self.ledger.play(Event::Rotation(new), || {
            let mut issuer = write(&self.servers.issuer);
            self.servers.generation.store(new, Ordering::SeqCst);
            self.pool.drop_new(is_withdrawn);
            let withdrawn = self.pool.take_out(is_withdrawn);
            issuer.rotate_keys(true);
            let user = user(dice.roll(USERS));
            let token = issuer.access_token(&user, "ES256");
            drop(issuer);
            self.until("the issuer with its new keys", || {
                self.probe(LoginMethod::OAuthBearer, &user, &token)
                    .is_none()
            });
            withdrawn
        });
        // Within this time, every process must have noticed the withdrawal of the old keys.
        if !self
            .outages_end
            .sleep(KEYS_REFRESH + Duration::from_secs(7))
        {
            return;
        }
        for token in withdrawn {
            let bad = BadCredential {
                is_ticket: false,
                user: token.user.clone(),
                secret: token.secret.clone(),
                why: "a token of a withdrawn key",
            };
            self.pool.add_bad(bad, dice);
        }
    }

    /// Restarts or reloads Cyrus, kills one of its processes, or flushes sessions.
    pub fn disrupt_cyrus(&self, mut dice: Dice) {
        while self.wait_for_next_outage(dice.millis(4_000, 18_000)) {
            match dice.roll(8) {
                0 => {
                    let mut cyrus = write(&self.servers.cyrus);
                    self.ledger.play(Event::CyrusDown, || {
                        cyrus.stop();
                        self.outages_end.sleep(dice.millis(0, 3_000));
                        cyrus.start_again();
                    });
                }
                1 => {
                    let cyrus = read(&self.servers.cyrus);
                    self.ledger.play(Event::CyrusHup, || cyrus.hup());
                }
                2..5 => {
                    let children = read(&self.servers.cyrus).children();
                    if children.is_empty() {
                        continue;
                    }
                    let pid = i32::try_from(*dice.pick(&children))
                        .expect("the process ID is out of range");
                    self.ledger.play(Event::ImapdKilled, || {
                        // The process may have exited by itself.
                        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    });
                }
                _ => self.flush(&mut dice),
            }
        }
    }

    fn flush(&self, dice: &mut Dice) {
        let user = user(dice.roll(USERS));
        let flushed = self.ledger.play(Event::Flush(user.clone()), || {
            let is_theirs = |one: &Credential| one.kind == Kind::Ticket && one.user == user;
            let flushed = self.pool.take_out(is_theirs);
            let conf = self.servers.conf.display().to_string();
            let arguments = ["sessions", "flush", "--config", &conf, "--user", &user];
            let (status, stdout, stderr) = sasl_sso(&arguments);
            assert_eq!(status, Some(0), "{stdout}{stderr}");
            flushed
        });
        for ticket in flushed {
            let bad = BadCredential {
                is_ticket: true,
                user: user.clone(),
                secret: ticket.secret.clone(),
                why: "a flushed ticket",
            };
            self.pool.add_bad(bad, dice);
        }
    }

    /// Terminates or kills the daemon and starts it again.
    pub fn disrupt_daemon(&self, mut dice: Dice) {
        while self.wait_for_next_outage(dice.millis(15_000, 60_000)) {
            let mut guard = lock(&self.servers.daemon);
            self.ledger.play(Event::DaemonDown, || {
                let mut daemon = guard.take().expect("the daemon is not running");
                if dice.is_one_of(2) {
                    daemon.kill();
                    self.outages_end.sleep(dice.millis(0, 3_000));
                } else {
                    daemon.signal(Signal::SIGTERM);
                    let status = daemon.wait();
                    assert!(status.success(), "{status}\n{}", daemon.output());
                }
                drop(daemon);
                let cyrus = read(&self.servers.cyrus);
                *guard = Some(Daemon::start(&self.servers.scratch, &cyrus));
            });
        }
    }

    /// Waits until the next outage. Returns false if there will be none.
    fn wait_for_next_outage(&self, time: Duration) -> bool {
        self.outages_end.sleep(time / self.pace)
    }

    /// Waits until a made-up credential is refused rather than failing because a server is down.
    fn until_refused(&self, server: &str, credential: impl Fn(usize) -> (LoginMethod, String)) {
        // Each probe is a new credential, because refusals are cached.
        static PROBES: AtomicUsize = AtomicUsize::new(0);
        self.until(server, || {
            let (method, secret) = credential(PROBES.fetch_add(1, Ordering::Relaxed));
            self.probe(method, "nobody", &secret) == Some(Failure::Refusal)
        });
    }

    fn until(&self, server: &str, mut condition: impl FnMut() -> bool) {
        let is_back = wait_until(RECOVERY_TIMEOUT, || {
            sleep(Duration::from_millis(200));
            condition()
        });
        if !is_back {
            let log = read(&self.servers.cyrus).log().tail();
            panic!("{server} is up but cannot be reached after {RECOVERY_TIMEOUT:?}\n{log}");
        }
    }

    /// Logs in without counting the result. Returns how the login failed.
    fn probe(&self, method: LoginMethod, user: &str, secret: &str) -> Option<Failure> {
        let login = Login {
            method,
            user,
            secret,
            what: "a probe",
        };
        let (_, reply) = self.log_in(&login);
        failure_of(&reply)
    }
}
