//! PLAIN of the plugin and PLAIN of libplain.so in one imapd: the plugin answers, and logins with
//! ordinary passwords work as without it.

// clippy recognizes only #[test] functions as tests.
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

/// The plugin that libsasl2 loads first. It loads the directories of its path in turn.
#[derive(Clone, Copy, Debug)]
enum LoadedFirst {
    Plugin,
    Libplain,
}

struct PlainEnv {
    cyrus: Cyrus,
    cas: FaultyCas,
    authority: Authority,
}

impl PlainEnv {
    fn new(first: LoadedFirst, lines: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new("plain");
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let (plugin, stock) = (scratch.create_dir("plugin"), scratch.create_dir("stock"));
        plugin_dir::fill(&plugin, &[], Some(&test_support::libsasl2::plugin()));
        plugin_dir::fill(&stock, &["libplain.so", "libsasldb.so"], None);
        let path = match first {
            LoadedFirst::Plugin => format!("{}:{}", plugin.display(), stock.display()),
            LoadedFirst::Libplain => format!("{}:{}", stock.display(), plugin.display()),
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
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            imapd_conf: all.into_iter().map(owned).collect(),
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

    /// Checks logins with credentials and ordinary passwords. alice and webmail have passwords, and
    /// webmail may act for other users.
    fn check_logins(&self, context: &str) {
        let log = self.cyrus.log();
        let assert_accepted =
            |reply: &Reply| assert!(reply.ok, "{context}: {reply:?}\n{}", log.tail());
        let assert_refused = |reply: &Reply| {
            let refusal = reply.status_line.starts_with("NO authentication failure");
            assert!(refusal, "{context}: {reply:?}\n{}", log.tail());
        };
        let capabilities = self.connect().capabilities();
        let offered = capabilities
            .iter()
            .filter(|capability| *capability == "AUTH=PLAIN")
            .count();
        assert_eq!(offered, 1, "{context}: {capabilities:?}");

        self.cas.arm("PT-1-alice", "alice", &[PROXY]);
        assert_accepted(&self.plain("", "alice", "PT-1-alice"));
        let decision = log.wait_for(|line| line.text.contains("mech=PLAIN"), PATIENCE);
        assert!(decision.is_some(), "{context}: {}", log.tail());
        assert_accepted(&self.plain("", "alice", PASSWORD));
        assert_accepted(&self.plain("alice", "alice", PASSWORD));
        assert_refused(&self.plain("", "alice", "a-wrong-one"));
        assert_refused(&self.plain("", "nobody", PASSWORD));
        assert_refused(&self.plain("", "alice", "PT-2-forged"));

        self.cas.arm("PT-3-webmail", "webmail", &[PROXY]);
        for password in [PASSWORD, "PT-3-webmail"] {
            let mark = log.mark();
            assert_accepted(&self.plain("alice", "webmail", password));
            let welcome = |line: &Line| line.text.contains(" alice PLAIN User logged in");
            assert!(
                log.wait_for_since(mark, welcome, PATIENCE).is_some(),
                "{}",
                log.tail()
            );
        }
        // While CAS is down, the failure is an outage, and cached tickets are accepted.
        self.cas.set(Behaviour::CloseOnAccept);
        let reply = self.plain("", "alice", "PT-4-new");
        let unavailable = "NO remote authentication server unavailable";
        assert!(
            reply.status_line.starts_with(unavailable),
            "{context}: {reply:?}"
        );
        assert_accepted(&self.plain("", "alice", "PT-1-alice"));
        self.cas.set(Behaviour::Tickets);

        // alice may not act for other users.
        for password in [PASSWORD, "PT-1-alice"] {
            let reply = self.plain("webmail", "alice", password);
            assert!(!reply.ok, "{context}: {reply:?}");
        }
    }
}

#[test]
fn plain_works_with_passwords_in_sasldb() {
    for first in [LoadedFirst::Plugin, LoadedFirst::Libplain] {
        let env = PlainEnv::new(first, &[]);
        for user in ["alice", "webmail"] {
            env.cyrus.sasl_user(user, PASSWORD);
        }
        env.check_logins(&format!("{first:?}"));
    }
}

#[test]
fn plain_works_with_passwords_checked_by_saslauthd() {
    let saslauthd = PasswordServer::start(
        &Authority::new(),
        &[("alice", PASSWORD), ("webmail", PASSWORD)],
    );
    let mux = saslauthd.mux().display().to_string();
    let lines = [
        ("sasl_pwcheck_method", "saslauthd"),
        ("sasl_saslauthd_path", mux.as_str()),
    ];
    for (turn, first) in (1..).zip([LoadedFirst::Plugin, LoadedFirst::Libplain]) {
        PlainEnv::new(first, &lines).check_logins(&format!("{first:?}"));
        // Six of the logins use ordinary passwords.
        saslauthd.assert_asked(6 * turn);
    }
}

#[test]
fn plain_is_offered_under_the_same_conditions_as_libplain() {
    for first in [LoadedFirst::Plugin, LoadedFirst::Libplain] {
        let env = PlainEnv::new(first, &[("sasl_mech_list", "CASPT")]);
        env.cyrus.sasl_user("alice", PASSWORD);
        let capabilities = env.connect().capabilities();
        assert!(
            !capabilities
                .iter()
                .any(|capability| capability == "AUTH=PLAIN"),
            "{capabilities:?}"
        );
        assert!(!env.plain("", "alice", PASSWORD).ok);
        // The LOGIN command belongs to imapd itself.
        assert!(env.connect().login("alice", PASSWORD).ok);

        let env = PlainEnv::new(first, &[("allowplaintext", "no")]);
        env.cyrus.sasl_user("alice", PASSWORD);
        env.cas.arm("PT-1-alice", "alice", &[PROXY]);
        for password in [PASSWORD, "PT-1-alice"] {
            let capabilities = env.connect().capabilities();
            assert!(
                !capabilities
                    .iter()
                    .any(|capability| capability == "AUTH=PLAIN"),
                "{capabilities:?}"
            );
            assert!(!env.plain("", "alice", password).ok);
            let mut imap = env.connect();
            imap.starttls(&env.authority);
            let capabilities = imap.capabilities();
            assert!(
                capabilities
                    .iter()
                    .any(|capability| capability == "AUTH=PLAIN"),
                "{capabilities:?}"
            );
            let message = format!("\0alice\0{password}");
            let reply = imap.authenticate("PLAIN", message.as_bytes(), &[]);
            assert!(reply.ok, "{reply:?}\n{}", env.cyrus.log().tail());
        }
    }
}
