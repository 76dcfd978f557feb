//! PLAIN of ours and PLAIN of libplain.so in one imapd: ours answers, and nothing is different for
//! who has an ordinary password.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::imap::{Imap, Reply};
use test_support::libsasl2::site::PROXY;
use test_support::password_server::PasswordServer;
use test_support::plugin_dir;
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

const PASSWORD: &str = "an-ordinary-one";

/// Which of the two libsasl2 loads first: it goes through the directories of its path in turn.
#[derive(Clone, Copy, Debug)]
enum First {
    Ours,
    Libplain,
}

struct Site {
    cyrus: Cyrus,
    cas: FaultyCas,
    authority: Authority,
}

impl Site {
    fn new(first: First, lines: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new("plain");
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let (ours, stock) = (scratch.create_dir("ours"), scratch.create_dir("stock"));
        plugin_dir::fill(&ours, &[], Some(&test_support::libsasl2::plugin()));
        plugin_dir::fill(&stock, &["libplain.so", "libsasldb.so"], None);
        let path = match first {
            First::Ours => format!("{}:{}", ours.display(), stock.display()),
            First::Libplain => format!("{}:{}", stock.display(), ours.display()),
        };
        let url = cas.url();
        let ca = authority.write_ca(&scratch).display().to_string();
        let mut all = vec![
            ("sasl_mech_list", "PLAIN CASPT"),
            ("sasl_sso_plain", "yes"),
            ("sasl_caspt_url", &url),
            ("sasl_caspt_ca_file", &ca),
            ("sasl_caspt_proxies", PROXY),
            ("proxyservers", "webmail"),
        ];
        all.retain(|(key, _)| lines.iter().all(|(other, _)| other != key));
        all.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            imapd_conf: all.into_iter().map(own).collect(),
            environment: vec![("SASL_PATH".to_owned(), path)],
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            cyrus,
            cas,
            authority,
        }
    }

    fn connect(&self) -> Imap {
        Imap::connect(self.cyrus.imap_port())
    }

    fn plain(&self, authzid: &str, authcid: &str, password: &str) -> Reply {
        let message = format!("{authzid}\0{authcid}\0{password}");
        self.connect()
            .authenticate("PLAIN", message.as_bytes(), &[])
    }

    /// Everything that the promise is about, whoever knows the passwords of alice and of webmail,
    /// which may act for others.
    fn keeps_its_promise(&self, told: &str) {
        let log = self.cyrus.log();
        let good = |reply: &Reply| assert!(reply.ok, "{told}: {reply:?}\n{}", log.tail());
        let bad = |reply: &Reply| {
            let refusal = reply.status_line.starts_with("NO authentication failure");
            assert!(refusal, "{told}: {reply:?}\n{}", log.tail());
        };
        let words = self.connect().capabilities();
        let offered = words.iter().filter(|word| *word == "AUTH=PLAIN").count();
        assert_eq!(offered, 1, "{told}: {words:?}");

        self.cas.arm("PT-1-alice", "alice", &[PROXY]);
        good(&self.plain("", "alice", "PT-1-alice"));
        let decision = log.wait_for(|line| line.text.contains("mech=PLAIN"), PATIENCE);
        assert!(decision.is_some(), "{told}: {}", log.tail());
        good(&self.plain("", "alice", PASSWORD));
        good(&self.plain("alice", "alice", PASSWORD));
        bad(&self.plain("", "alice", "a-wrong-one"));
        bad(&self.plain("", "nobody", PASSWORD));
        bad(&self.plain("", "alice", "PT-2-forged"));

        self.cas.arm("PT-3-webmail", "webmail", &[PROXY]);
        for password in [PASSWORD, "PT-3-webmail"] {
            let mark = log.mark();
            good(&self.plain("alice", "webmail", password));
            let welcome = |line: &Line| line.text.contains(" alice PLAIN User logged in");
            assert!(
                log.wait_for_since(mark, welcome, PATIENCE).is_some(),
                "{}",
                log.tail()
            );
        }
        // Nobody is wrong because CAS is down.
        self.cas.set(Behaviour::CloseOnAccept);
        let reply = self.plain("", "alice", "PT-4-new");
        let unavailable = "NO remote authentication server unavailable";
        assert!(
            reply.status_line.starts_with(unavailable),
            "{told}: {reply:?}"
        );
        good(&self.plain("", "alice", "PT-1-alice"));
        self.cas.set(Behaviour::Tickets);

        // Alice may not.
        for password in [PASSWORD, "PT-1-alice"] {
            let reply = self.plain("webmail", "alice", password);
            assert!(!reply.ok, "{told}: {reply:?}");
        }
    }
}

#[test]
fn with_passwords_in_sasldb() {
    for first in [First::Ours, First::Libplain] {
        let site = Site::new(first, &[]);
        for user in ["alice", "webmail"] {
            site.cyrus.sasl_user(user, PASSWORD);
        }
        site.keeps_its_promise(&format!("{first:?}"));
    }
}

#[test]
fn with_passwords_behind_saslauthd() {
    let behind = PasswordServer::start(
        &Authority::new(),
        &[("alice", PASSWORD), ("webmail", PASSWORD)],
    );
    let mux = behind.mux().display().to_string();
    let lines = [
        ("sasl_pwcheck_method", "saslauthd"),
        ("sasl_saslauthd_path", mux.as_str()),
    ];
    for (turn, first) in (1..).zip([First::Ours, First::Libplain]) {
        Site::new(first, &lines).keeps_its_promise(&format!("{first:?}"));
        // Six of the logins are by ordinary passwords.
        behind.assert_asked(6 * turn);
    }
}

#[test]
fn it_is_hidden_where_libplains_would_be() {
    for first in [First::Ours, First::Libplain] {
        let site = Site::new(first, &[("sasl_mech_list", "CASPT")]);
        site.cyrus.sasl_user("alice", PASSWORD);
        let words = site.connect().capabilities();
        assert!(!words.iter().any(|word| word == "AUTH=PLAIN"), "{words:?}");
        assert!(!site.plain("", "alice", PASSWORD).ok);
        // LOGIN is imapd's own.
        assert!(site.connect().login("alice", PASSWORD).ok);

        let site = Site::new(first, &[("allowplaintext", "no")]);
        site.cyrus.sasl_user("alice", PASSWORD);
        site.cas.arm("PT-1-alice", "alice", &[PROXY]);
        for password in [PASSWORD, "PT-1-alice"] {
            let words = site.connect().capabilities();
            assert!(!words.iter().any(|word| word == "AUTH=PLAIN"), "{words:?}");
            assert!(!site.plain("", "alice", password).ok);
            let mut imap = site.connect();
            imap.starttls(&site.authority);
            let words = imap.capabilities();
            assert!(words.iter().any(|word| word == "AUTH=PLAIN"), "{words:?}");
            let message = format!("\0alice\0{password}");
            let reply = imap.authenticate("PLAIN", message.as_bytes(), &[]);
            assert!(reply.ok, "{reply:?}\n{}", site.cyrus.log().tail());
        }
    }
}
