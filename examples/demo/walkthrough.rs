//! The steps of the demonstration.

use super::Outcome;
use super::login::{Credential, Expected, Login, shortened};
use super::page::Page;
use super::servers::{DemoServers, SERVICE};
use super::signals::Signals;
use std::collections::HashSet;
use test_support::imap::Imap;

/// Runs all steps. Fails at the first unexpected result.
pub fn run(servers: &DemoServers, page: &Page, signals: &Signals) -> Outcome {
    let mut walkthrough = Walkthrough {
        servers,
        page,
        alice: String::new(),
        bob: String::new(),
        processes: HashSet::new(),
    };
    for step in [
        Walkthrough::servers,
        Walkthrough::first_login,
        Walkthrough::same_ticket_again,
        Walkthrough::forged_ticket,
        Walkthrough::cas_stopped,
        Walkthrough::cas_back,
        Walkthrough::ticket_as_password,
        Walkthrough::ordinary_password,
        Walkthrough::token,
        Walkthrough::unsigned_token,
        Walkthrough::expired_token,
    ] {
        if signals.arrived() {
            return Err("interrupted".into());
        }
        step(&mut walkthrough)?;
    }
    Ok(())
}

/// The state of the demonstration.
pub struct Walkthrough<'s> {
    pub servers: &'s DemoServers,
    pub page: &'s Page,
    /// The tickets of the users.
    pub alice: String,
    bob: String,
    /// The imapd processes that have answered so far.
    processes: HashSet<u32>,
}

/// The outcome of a login from the host tier: CAS is not asked, because another process has cached
/// the session.
pub const KNOWN: Expected<'_> = Expected {
    status: "OK ",
    challenge: None,
    logged: "outcome=accepted user=alice source=host",
    asked: 0,
};

impl Walkthrough<'_> {
    fn servers(&mut self) -> Outcome {
        let imap = Imap::connect(self.servers.cyrus.imap_port());
        let greeting = imap.greeting();
        for mechanism in ["CASPT", "OAUTHBEARER", "XOAUTH2"] {
            if !greeting.contains(&format!(" AUTH={mechanism}")) {
                return Err(format!("imapd does not offer {mechanism}: {greeting}").into());
            }
        }
        self.page.message("imapd", &shortened(greeting))?;
        self.page
            .heading("The lines of imapd.conf for the plugin and sasl-sso serve:")?;
        for (name, value) in &self.servers.settings {
            self.page.paragraph(&format!("  {name}: {value}"))?;
        }
        Ok(self.page.paragraph(
            "What clients send is shown without its base64: \\0 is a NUL, ^A a Control-A. Tickets and \
             tokens are shortened.",
        )?)
    }

    fn first_login(&mut self) -> Outcome {
        self.page.heading(&format!(
            "1. alice uses the webmail. It gets a CAS proxy ticket for {SERVICE} and logs in with it."
        ))?;
        self.alice = self.servers.ticket("alice");
        let expected = Expected {
            logged: "outcome=accepted user=alice source=validated",
            asked: 1,
            ..KNOWN
        };
        self.log_in(&Credential::ticket(&self.alice), &expected)
    }

    fn same_ticket_again(&mut self) -> Outcome {
        self.page.heading(
            "2. The webmail reconnects with the same ticket. Each time, a new imapd process answers.",
        )?;
        for _ in 0..2 {
            self.log_in(&Credential::ticket(&self.alice), &KNOWN)?;
        }
        Ok(self.page.paragraph(&format!(
            "So far: one ticket, {} logins by as many processes, and CAS was asked once.",
            self.processes.len()
        ))?)
    }

    fn forged_ticket(&mut self) -> Outcome {
        self.page
            .heading("3. An attacker tries a forged ticket: alice's with a different end.")?;
        let kept = self.alice.len() - "FORGED".len();
        let forged = format!("{}FORGED", &self.alice[..kept]);
        let expected = Expected {
            status: "NO authentication failure",
            challenge: Some("\"invalid_ticket\""),
            logged: "outcome=refused reason=ticket_refused",
            asked: 1,
        };
        self.log_in(&Credential::ticket(&forged), &expected)
    }

    fn cas_stopped(&mut self) -> Outcome {
        self.bob = self.servers.ticket("bob");
        self.page.heading(
            "4. CAS is stopped. alice's ticket still works. bob's is new: that is an outage, not a refusal.",
        )?;
        self.servers.cas().stop();
        self.log_in(&Credential::ticket(&self.alice), &KNOWN)?;
        let expected = Expected {
            status: "NO remote authentication server unavailable",
            challenge: None,
            logged: "outcome=unavailable reason=server_unreachable",
            asked: 0,
        };
        self.log_in(&Credential::ticket(&self.bob), &expected)
    }

    fn cas_back(&mut self) -> Outcome {
        self.page
            .heading("5. CAS is started again. Now bob's ticket is accepted.")?;
        self.servers.cas().start_again();
        let expected = Expected {
            logged: "outcome=accepted user=bob source=validated",
            asked: 1,
            ..KNOWN
        };
        self.log_in(&Credential::ticket(&self.bob), &expected)
    }

    /// Logs in, checks the outcome and prints it.
    pub fn log_in(&mut self, credential: &Credential, expected: &Expected<'_>) -> Outcome {
        let login = Login::by(self.servers, credential)?.check(expected)?;
        if let Some(process) = login.process()
            && !self.processes.insert(process)
        {
            return Err(format!("process {process} answered twice").into());
        }
        login.print(self.page)
    }
}
