//! One user name brings more requests than the daemon can validate, while new tickets and tokens of
//! all other names must be validated as usual. The CAS server is real, and a relay delays its
//! answers.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon, ask, request};
use test_support::libsasl2;
use test_support::mint::{SigningKey, now};
use test_support::portal::Portal;
use test_support::scratch::Scratch;
use test_support::slow_relay::SlowRelay;

/// The relay's delay of each request to CAS.
const DELAY: Duration = Duration::from_millis(700);

/// Requests per second of the attack.
const REQUESTS_PER_SECOND: usize = 800;

/// Duration of the attack in seconds.
const ATTACK_SECONDS: usize = 4;

/// Number of other users; each logs in with one new ticket and four new tokens during the attack.
const OTHER_USERS: usize = 24;

struct Site {
    daemon: Daemon,
    _cyrus: Cyrus,
    portal: Portal,
    key: SigningKey,
    _relay: SlowRelay,
    _cas: CasServer,
    _scratch: Scratch,
    tokens: AtomicUsize,
}

impl Site {
    fn new() -> Self {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("more descriptors");
        let scratch = Scratch::new("fair");
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let (_, port) = cas
            .url()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .expect("a port");
        let relay = SlowRelay::start(port.parse().expect("a port"), DELAY);
        let portal = Portal::start(&authority, &cas, "webmail");
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let lines = [
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            (
                "sasl_saslauthd_path",
                daemon::mux(&scratch).display().to_string(),
            ),
            (
                "sasl_caspt_url",
                format!("https://localhost:{}", relay.port()),
            ),
            (
                "sasl_caspt_ca_file",
                authority.write_ca(&scratch).display().to_string(),
            ),
            ("sasl_caspt_proxies", portal.pgt_url()),
            ("sasl_caspt_timeout", "10".to_owned()),
            (
                "sasl_jwt_keys",
                scratch.write("key.pem", key.pem()).display().to_string(),
            ),
            ("sasl_jwt_issuer", "*".to_owned()),
            ("sasl_jwt_audience", "*".to_owned()),
        ];
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            daemon: Daemon::start(&scratch, &cyrus),
            _cyrus: cyrus,
            portal,
            key,
            _relay: relay,
            _cas: cas,
            _scratch: scratch,
            tokens: AtomicUsize::new(0),
        }
    }

    fn mux(&self) -> &Path {
        self.daemon.mux()
    }

    /// Fetches a new ticket for each of the other users.
    fn new_tickets(&self) -> Vec<String> {
        let ticket = |number| {
            let user = user(number);
            move || self.portal.proxy_ticket(&user, "imap://localhost")
        };
        thread::scope(|scope| {
            let fetching: Vec<_> = (0..OTHER_USERS)
                .map(|number| scope.spawn(ticket(number)))
                .collect();
            fetching
                .into_iter()
                .map(|ticket| ticket.join().expect("a ticket"))
                .collect()
        })
    }

    /// Mints a new token.
    fn new_token(&self, user: &str) -> String {
        let id = self.tokens.fetch_add(1, Ordering::Relaxed);
        let now = now();
        let claims = format!(
            r#"{{"sub":"{user}","jti":"{id}","iat":{now},"exp":{}}}"#,
            now + 600
        );
        self.key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
    }

    /// One login of one of the other users.
    fn login(&self, user: &str, credential: &str) -> Login {
        let start = Instant::now();
        let answer = ask(self.mux(), &request(&[user, credential, "imap", ""]));
        Login {
            is_accepted: answer.as_deref() == Some("OK"),
            took: start.elapsed(),
        }
    }

    /// The logins of all other users, by ticket and by token, spread over the time of an attack.
    fn others(&self, tickets: &[String]) -> [Vec<Login>; 2] {
        let pause = Duration::from_secs(1) * (ATTACK_SECONDS as u32 - 1) / 5;
        let all = |number: usize| {
            let user = user(number);
            thread::sleep(pause * number as u32 / OTHER_USERS as u32);
            let mut by_token = Vec::new();
            let mut by_ticket = Vec::new();
            for turn in 0..5 {
                let start = Instant::now();
                match turn == number % 5 {
                    true => by_ticket.push(self.login(&user, &tickets[number])),
                    false => by_token.push(self.login(&user, &self.new_token(&user))),
                }
                thread::sleep(pause.saturating_sub(start.elapsed()));
            }
            [by_ticket, by_token]
        };
        thread::scope(|scope| {
            let all = &all;
            let running: Vec<_> = (0..OTHER_USERS)
                .map(|number| scope.spawn(move || all(number)))
                .collect();
            let done = running.into_iter().map(|one| one.join().expect("an end"));
            done.fold([Vec::new(), Vec::new()], |mut sum, logins| {
                for (sum, logins) in sum.iter_mut().zip(logins) {
                    sum.extend(logins);
                }
                sum
            })
        })
    }
}

#[derive(Debug)]
struct Login {
    is_accepted: bool,
    took: Duration,
}

fn user(number: usize) -> String {
    format!("user{number}")
}

/// The number of accepted logins, and a text with the median and the longest duration.
fn summary(logins: &[Login]) -> (usize, String) {
    let count = logins.iter().filter(|login| login.is_accepted).count();
    let mut times: Vec<Duration> = logins.iter().map(|login| login.took).collect();
    times.sort();
    let [median, longest] = [times[times.len() / 2], times[times.len() - 1]];
    let all = logins.len();
    (
        count,
        format!("{count} of {all} in, median {median:.2?}, longest {longest:.2?}"),
    )
}

fn show(logins: &[Vec<Login>; 2]) {
    for (kind, logins) in ["tickets", "tokens"].iter().zip(logins) {
        println!("  {kind}: {}", summary(logins).1);
    }
}

/// Sends [`REQUESTS_PER_SECOND`] requests per second, with the name and the ticket that `request_of` returns for
/// the number of the request. A client gives up after two seconds.
fn attack(mux: &Path, stopped: &AtomicBool, request_of: impl Fn(usize) -> [String; 2]) -> usize {
    let mut waiting = [Vec::new(), Vec::new()];
    let mut sent = 0;
    while !stopped.load(Ordering::Relaxed) {
        let second = Instant::now();
        let mut streams = Vec::new();
        for _ in 0..REQUESTS_PER_SECOND {
            let [name, ticket] = request_of(sent);
            let mut stream = UnixStream::connect(mux).expect("a socket");
            let bytes = request(&[&name, &ticket, "imap", ""]);
            // The daemon may have closed the connection already.
            let _ = stream.write_all(&bytes);
            streams.push(stream);
            sent += 1;
        }
        waiting.rotate_left(1);
        waiting[1] = streams;
        while second.elapsed() < Duration::from_secs(1) && !stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    sent
}

/// Checks that the other users can log in during the attack.
#[track_caller]
fn others_get_in_during(site: &Site, what: &str, request_of: impl Fn(usize) -> [String; 2] + Send) {
    let tickets = site.new_tickets();
    let stopped = AtomicBool::new(false);
    let (during, sent) = thread::scope(|scope| {
        let attack = scope.spawn(|| attack(site.mux(), &stopped, request_of));
        thread::sleep(Duration::from_millis(500));
        let during = site.others(&tickets);
        stopped.store(true, Ordering::Relaxed);
        (during, attack.join().expect("an attack"))
    });
    println!("{what}, {sent} requests:");
    show(&during);
    for logins in during {
        let (count, said) = summary(&logins);
        assert!(count * 100 >= logins.len() * 99, "{what}: {said}");
    }
}

#[test]
fn other_names_are_validated_while_one_name_floods_the_daemon() {
    let site = Site::new();
    println!("nobody else:");
    show(&site.others(&site.new_tickets()));
    let second = |number: usize| number / REQUESTS_PER_SECOND;
    others_get_in_during(&site, "one name, one new ticket a second", |number| {
        ["eve".to_owned(), format!("PT-1-{}-made-up", second(number))]
    });
    others_get_in_during(&site, "one name, each time a new ticket", |number| {
        ["eve".to_owned(), format!("PT-2-{number}-made-up")]
    });
    others_get_in_during(&site, "800 names, one new ticket a second", |number| {
        [
            format!("eve{number}"),
            format!("PT-3-{}-made-up", second(number)),
        ]
    });
    others_get_in_during(&site, "20 names, each time a new ticket", |number| {
        [
            format!("eve{}", number % 20),
            format!("PT-4-{number}-made-up"),
        ]
    });
}
