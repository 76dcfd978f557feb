//! What is done to the servers, each by a thread of its own.

use super::clients::Login;
use super::ledger::Event;
use super::login::{Loss, Way, loss};
use super::run::Run;
use super::site::{REFRESH, USERS, read, user, write};
use super::stock::{Credential, Kind, Wrong};
use crate::harness::daemon::Daemon;
use crate::harness::dice::Dice;
use crate::harness::https_server::lock;
use crate::harness::wait::wait_until;
use crate::libsasl2::sasl_sso;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// How long it may take until all is as before; others may keep the machine busy.
const RECOVERY: Duration = Duration::from_secs(180);

impl Run<'_> {
    /// Stops the CAS, or makes it hang.
    pub fn trouble_cas(&self, mut dice: Dice) {
        while self.goes_well_for(dice.millis(10_000, 50_000)) {
            // Who fetches tickets waits meanwhile.
            let mut cas = write(&self.site.cas);
            self.ledger.play(Event::CasDown, || {
                if dice.is_one_of(3) {
                    cas.pause();
                    self.peace.sleep(dice.millis(2_000, 20_000));
                    cas.resume();
                } else {
                    cas.stop();
                    self.peace.sleep(dice.millis(0, 12_000));
                    cas.start_again();
                }
                drop(cas);
                self.until_refused("CAS", |number| {
                    let ticket = format!("PT-{number}-is-it-back");
                    (Way::Caspt, ticket)
                });
            });
        }
    }

    /// Stops the OpenID provider, or has it change its keys.
    pub fn trouble_the_issuer(&self, mut dice: Dice) {
        while self.goes_well_for(dice.millis(5_000, 20_000)) {
            if dice.is_one_of(2) {
                self.ledger.play(Event::IssuerDown, || {
                    let mut issuer = write(&self.site.issuer);
                    issuer.stop();
                    self.peace.sleep(dice.millis(0, 15_000));
                    issuer.start_again();
                    drop(issuer);
                    self.until_refused("the issuer", |number| {
                        (Way::OAuthBearer, self.forged_token("nobody", number))
                    });
                });
            } else {
                self.rotate_keys(&mut dice);
            }
        }
    }

    fn rotate_keys(&self, dice: &mut Dice) {
        let new = self.site.generation() + 1;
        let is_withdrawn = |one: &Credential| match one.kind {
            Kind::Token(keys) => keys + 2 <= new,
            Kind::Ticket => false,
        };
        let withdrawn = self.ledger.play(Event::Rotation(new), || {
            let mut issuer = write(&self.site.issuer);
            self.site.generation.store(new, Ordering::SeqCst);
            self.stock.drop_new(is_withdrawn);
            let withdrawn = self.stock.take_out(is_withdrawn);
            issuer.rotate_keys(true);
            let user = user(dice.roll(USERS));
            let token = issuer.access_token(&user, "ES256");
            drop(issuer);
            self.until("tokens by the new keys", || {
                self.probe(Way::OAuthBearer, &user, &token).is_none()
            });
            withdrawn
        });
        // By then every process has to know.
        if !self.peace.sleep(REFRESH + Duration::from_secs(7)) {
            return;
        }
        for token in withdrawn {
            let wrong = Wrong {
                is_ticket: false,
                user: token.user.clone(),
                secret: token.secret.clone(),
                why: "of a key that was withdrawn",
            };
            self.stock.add_wrong(wrong, dice);
        }
    }

    /// Restarts Cyrus, kills one of its processes, or has sessions flushed.
    pub fn trouble_cyrus(&self, mut dice: Dice) {
        while self.goes_well_for(dice.millis(4_000, 18_000)) {
            match dice.roll(8) {
                0 => {
                    let mut cyrus = write(&self.site.cyrus);
                    self.ledger.play(Event::CyrusDown, || {
                        cyrus.stop();
                        self.peace.sleep(dice.millis(0, 3_000));
                        cyrus.start_again();
                    });
                }
                1 => {
                    let cyrus = read(&self.site.cyrus);
                    self.ledger.play(Event::CyrusHup, || cyrus.hup());
                }
                2..5 => {
                    let children = read(&self.site.cyrus).children();
                    if children.is_empty() {
                        continue;
                    }
                    let pid = i32::try_from(*dice.pick(&children)).expect("a process id");
                    self.ledger.play(Event::ImapdKilled, || {
                        // It may have ended by itself.
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
            let flushed = self.stock.take_out(is_theirs);
            let conf = self.site.conf.display().to_string();
            let order = ["sessions", "flush", "--config", &conf, "--user", &user];
            let (status, said, complaint) = sasl_sso(&order);
            assert_eq!(status, Some(0), "{said}{complaint}");
            flushed
        });
        for ticket in flushed {
            let wrong = Wrong {
                is_ticket: true,
                user: user.clone(),
                secret: ticket.secret.clone(),
                why: "a flushed ticket",
            };
            self.stock.add_wrong(wrong, dice);
        }
    }

    /// Has the daemon end, or kills it.
    pub fn trouble_the_daemon(&self, mut dice: Dice) {
        while self.goes_well_for(dice.millis(15_000, 60_000)) {
            let mut place = lock(&self.site.daemon);
            self.ledger.play(Event::DaemonDown, || {
                let mut daemon = place.take().expect("the daemon");
                if dice.is_one_of(2) {
                    daemon.kill();
                    self.peace.sleep(dice.millis(0, 3_000));
                } else {
                    daemon.signal(Signal::SIGTERM);
                    let status = daemon.wait();
                    assert!(status.success(), "{status}\n{}", daemon.output());
                }
                drop(daemon);
                let cyrus = read(&self.site.cyrus);
                *place = Some(Daemon::start(&self.site.scratch, &cyrus));
            });
        }
    }

    /// Waits until the next outage; false if there is to be none.
    fn goes_well_for(&self, time: Duration) -> bool {
        self.peace.sleep(time / self.pace)
    }

    /// Waits until a credential of nobody's is refused, and not for want of a server.
    fn until_refused(&self, whom: &str, credential: impl Fn(usize) -> (Way, String)) {
        // A refusal is remembered for a while.
        static PROBES: AtomicUsize = AtomicUsize::new(0);
        self.until(whom, || {
            let (way, secret) = credential(PROBES.fetch_add(1, Ordering::Relaxed));
            self.probe(way, "nobody", &secret) == Some(Loss::Refusal)
        });
    }

    fn until(&self, whom: &str, mut condition: impl FnMut() -> bool) {
        let is_back = wait_until(RECOVERY, || {
            sleep(Duration::from_millis(200));
            condition()
        });
        if !is_back {
            let log = read(&self.site.cyrus).log().tail();
            panic!("{whom} is up, and after {RECOVERY:?} still out of reach\n{log}");
        }
    }

    /// How a login fails that is not counted.
    fn probe(&self, way: Way, user: &str, secret: &str) -> Option<Loss> {
        let login = Login {
            way,
            user,
            secret,
            what: "a probe",
        };
        let (_, reply) = self.log_in(&login);
        loss(&reply)
    }
}
