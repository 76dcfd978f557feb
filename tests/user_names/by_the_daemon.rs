//! imapd opens the mailbox of whom the client names, and asks the daemon only whether it may: the
//! name must be the mail user's own.

use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon};
use test_support::imap::Imap;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::wait::PATIENCE;

/// A Cyrus that takes tokens of `key` by LOGIN and by PLAIN in the process, and a daemon.
struct Site {
    // Ended before whom it serves.
    _daemon: Daemon,
    cyrus: Cyrus,
    key: SigningKey,
}

impl Site {
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

    /// Logs in by LOGIN, and then by PLAIN in the process: the mail users whom imapd lets in.
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

/// bob of the students is bob@students.example. bob to imapd is bob@univ.example, somebody else.
#[test]
fn a_realm_that_is_added_makes_nobody_a_namesake_in_the_default_domain() {
    let site = Site::new(&[
        ("virtdomains", "userid"),
        ("defaultdomain", "univ.example"),
        ("loginrealms", "students.example"),
        ("sasl_sso_realm", "students.example"),
    ]);
    let students = Some("bob@students.example");
    let token = site.token("bob");
    // In the process it is the plugin that tells imapd who this is.
    site.expect("bob", &token, None, students);
    site.expect("bob@univ.example", &token, None, None);
    site.expect("Bob@students.example", &token, students, students);
}

#[test]
fn a_domain_that_is_cut_off_is_not_cut_off_what_imapd_goes_on_with() {
    let site = Site::new(&[
        ("loginrealms", "univ.example"),
        ("sasl_sso_strip_domain", "univ.example"),
    ]);
    let token = site.token("alice@univ.example");
    // Without virtdomains she would be a user of her own.
    site.expect("alice@univ.example", &token, None, Some("alice"));
    site.expect("alice", &token, Some("alice"), Some("alice"));
}

#[test]
fn names_that_are_one_to_imapd_are_one_to_the_daemon() {
    let site = Site::new(&[("virtdomains", "userid"), ("defaultdomain", "univ.example")]);
    for user in ["alice", "alice@univ.example"] {
        let token = site.token(user);
        for name in ["alice", "ALICE", "alice@univ.example", "Alice@Univ.Example"] {
            site.expect(name, &token, Some("alice"), Some("alice"));
        }
        site.expect("alicia", &token, None, None);
    }
}

/// imapd adds the domain of the interface to a name without one. The daemon cannot tell whether the
/// client typed a domain, so it accepts none.
#[test]
fn a_domain_that_the_client_types_is_refused_whatever_sso_host_names_says() {
    for policy in ["domain", "any"] {
        let site = Site::new(&[
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
fn a_plus_makes_no_user_another_one_to_the_daemon() {
    let site = Site::new(&[("imapmagicplus", "yes")]);
    let (alice, alice_plus) = (site.token("alice"), site.token("alice+x"));
    let ask = |name: &str, token: &str| site._daemon.ask(name, token, "pop");
    assert_eq!(ask("alice", &alice_plus).as_deref(), Some("NO"));
    assert_eq!(ask("alice+x", &alice).as_deref(), Some("NO"));
    assert_eq!(ask("alice", &alice).as_deref(), Some("OK"));
    // imapd's own name of alice+ is alice.
    let users = site.logs_in("alice+", &alice);
    assert_eq!(
        users[0].as_deref().map(|user| user.trim_end_matches('+')),
        Some("alice")
    );
}
