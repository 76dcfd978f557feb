//! Tests of the daemon: imapd opens the mailbox of the name that the client sends, and asks the
//! daemon whether it may. So that name must be the mail user's.

use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon};
use test_support::imap::Imap;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::wait::PATIENCE;

/// A Cyrus that accepts tokens of `key` by LOGIN and, in the process, by PLAIN, and a daemon.
struct DaemonNamesEnv {
    // Dropped before the Cyrus that it serves.
    _daemon: Daemon,
    cyrus: Cyrus,
    key: SigningKey,
}

impl DaemonNamesEnv {
    fn new(lines: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new("names");
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let mux = daemon::mux(&scratch).display().to_string();
        let keys = scratch.write("key.pem", key.pem()).display().to_string();
        let mut all = vec![
            ("sasl_pwcheck_method", "saslauthd"),
            ("sasl_saslauthd_path", &mux),
            ("sasl_sso_plain", "yes"),
            ("sasl_jwt_keys", &keys),
            ("sasl_jwt_issuer", "*"),
            ("sasl_jwt_audience", "*"),
        ];
        all.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            plugin: Some(test_support::libsasl2::plugin()),
            imapd_conf: all.into_iter().map(own).collect(),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
        Self {
            _daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            key,
        }
    }

    fn token(&self, user: &str) -> String {
        let now = now();
        let claims = format!(r#"{{"sub":"{user}","iat":{now},"exp":{}}}"#, now + 600);
        self.key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
    }

    /// Logs in by LOGIN, and then by PLAIN in the process. Returns the mail users of both logins.
    fn logs_in(&self, name: &str, token: &str) -> [Option<String>; 2] {
        let port = self.cyrus.imap_port();
        let plain = format!("\0{name}\0{token}");
        let mark = self.cyrus.log().mark();
        let by_login = Imap::connect(port).login(name, token);
        let by_plain = Imap::connect(port).authenticate("PLAIN", plain.as_bytes(), &[]);
        let log = self.cyrus.log();
        let user = |is_in: bool, way: &str| {
            let welcome = format!(" {way} User logged in");
            let line = is_in.then(|| {
                log.wait_for_since(mark, |line| line.text.contains(&welcome), PATIENCE)
                    .unwrap_or_else(|| panic!("{name} by {way}\n{}", log.tail()))
            })?;
            let (before, _) = line.text.split_once(&welcome)?;
            before.rsplit(' ').next().map(str::to_owned)
        };
        [user(by_login.ok, "plaintext"), user(by_plain.ok, "PLAIN")]
    }

    #[track_caller]
    fn expect(&self, name: &str, token: &str, by_login: Option<&str>, by_plain: Option<&str>) {
        let users = self.logs_in(name, token);
        let expected = [by_login, by_plain].map(|user| user.map(str::to_owned));
        assert_eq!(users, expected, "{name}\n{}", self.cyrus.log().tail());
    }
}

/// The student bob is bob@students.example. For imapd, bob is bob@univ.example, another user.
#[test]
fn added_realm_does_not_match_a_name_in_the_default_domain() {
    let site = DaemonNamesEnv::new(&[
        ("virtdomains", "userid"),
        ("defaultdomain", "univ.example"),
        ("loginrealms", "students.example"),
        ("sasl_sso_realm", "students.example"),
    ]);
    let students = Some("bob@students.example");
    let token = site.token("bob");
    // In the process, the plugin tells imapd the user.
    site.expect("bob", &token, None, students);
    site.expect("bob@univ.example", &token, None, None);
    site.expect("Bob@students.example", &token, students, students);
}

#[test]
fn stripped_domain_is_compared_with_the_name_of_imapd() {
    let site = DaemonNamesEnv::new(&[
        ("loginrealms", "univ.example"),
        ("sasl_sso_strip_domain", "univ.example"),
    ]);
    let token = site.token("alice@univ.example");
    // Without virtdomains this would be another user.
    site.expect("alice@univ.example", &token, None, Some("alice"));
    site.expect("alice", &token, Some("alice"), Some("alice"));
}

#[test]
fn names_that_imapd_treats_as_equal_are_equal_to_the_daemon() {
    let site = DaemonNamesEnv::new(&[("virtdomains", "userid"), ("defaultdomain", "univ.example")]);
    for user in ["alice", "alice@univ.example"] {
        let token = site.token(user);
        for name in ["alice", "ALICE", "alice@univ.example", "Alice@Univ.Example"] {
            site.expect(name, &token, Some("alice"), Some("alice"));
        }
        site.expect("alicia", &token, None, None);
    }
}

/// imapd adds the domain of the interface to a name without one. The daemon cannot tell whether the
/// client sent a domain, so it accepts none.
#[test]
fn domain_sent_by_the_client_is_refused_with_any_sso_host_names() {
    for policy in ["domain", "any"] {
        let site = DaemonNamesEnv::new(&[
            ("virtdomains", "userid"),
            ("defaultdomain", "univ.example"),
            ("sasl_sso_host_names", policy),
        ]);
        let token = site.token("alice");
        site.expect("alice@other.example", &token, None, None);
        site.expect("alice", &token, Some("alice"), Some("alice"));
    }
}

/// With imapmagicplus imapd removes what follows a `+`; other services do not.
#[test]
fn plus_does_not_change_the_user_of_the_daemon() {
    let site = DaemonNamesEnv::new(&[("imapmagicplus", "yes")]);
    let (alice, alice_plus) = (site.token("alice"), site.token("alice+x"));
    let ask = |name: &str, token: &str| site._daemon.ask(name, token, "pop");
    assert_eq!(ask("alice", &alice_plus).as_deref(), Some("NO"));
    assert_eq!(ask("alice+x", &alice).as_deref(), Some("NO"));
    assert_eq!(ask("alice", &alice).as_deref(), Some("OK"));
    // imapd's name of alice+ is alice.
    let users = site.logs_in("alice+", &alice);
    assert_eq!(
        users[0].as_deref().map(|user| user.trim_end_matches('+')),
        Some("alice")
    );
}
