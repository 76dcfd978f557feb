//! The demonstration, step by step.

use super::Outcome;
use super::harness::imap::Imap;
use super::login::{Credential, Expected, Login, shortened};
use super::page::Page;
use super::signals::Signals;
use super::site::{SERVICE, Site};
use std::collections::HashSet;

/// Goes through it; fails at the first step that does not go as it should.
pub fn tell(site: &Site, page: &Page, signals: &Signals) -> Outcome {
    let mut story = Story {
        site,
        page,
        alice: String::new(),
        bob: String::new(),
        processes: HashSet::new(),
    };
    for step in [
        Story::servers,
        Story::first_login,
        Story::same_ticket_again,
        Story::forged_ticket,
        Story::cas_stopped,
        Story::cas_back,
        Story::ticket_as_password,
        Story::ordinary_password,
        Story::token,
        Story::unsigned_token,
        Story::expired_token,
    ] {
        if signals.came() {
            return Err("interrupted".into());
        }
        step(&mut story)?;
    }
    Ok(())
}

/// Where it happens, and what is told.
pub struct Story<'s> {
    pub site: &'s Site,
    pub page: &'s Page,
    /// Tickets, by their user.
    pub alice: String,
    bob: String,
    /// The imapd processes that have answered so far.
    processes: HashSet<u32>,
}

/// A login that nobody is asked about, because any process of this host knows the credential.
pub const KNOWN: Expected<'_> = Expected {
    status: "OK ",
    challenge: None,
    logged: "outcome=accepted user=alice source=host",
    asked: 0,
};

impl Story<'_> {
    fn servers(&mut self) -> Outcome {
        let imap = Imap::connect(self.site.cyrus.imap_port());
        let greeting = imap.greeting();
        for mechanism in ["CASPT", "OAUTHBEARER", "XOAUTH2"] {
            if !greeting.contains(&format!(" AUTH={mechanism}")) {
                return Err(format!("imapd does not offer {mechanism}: {greeting}").into());
            }
        }
        self.page.said("imapd", &shortened(greeting))?;
        self.page
            .heading("The lines of imapd.conf that concern the plugin and sasl-sso serve:")?;
        for (name, value) in &self.site.settings {
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
        self.alice = self.site.ticket("alice");
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
            .heading("3. Somebody tries a forged ticket: alice's with another end.")?;
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
        self.bob = self.site.ticket("bob");
        self.page.heading(
            "4. CAS is stopped. alice's ticket still works. bob's is new: an outage, which is no refusal.",
        )?;
        self.site.cas().stop();
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
            .heading("5. CAS is started again. Now the same ticket of bob's is good.")?;
        self.site.cas().start_again();
        let expected = Expected {
            logged: "outcome=accepted user=bob source=validated",
            asked: 1,
            ..KNOWN
        };
        self.log_in(&Credential::ticket(&self.bob), &expected)
    }

    /// Logs in and tells of it, if it goes as expected.
    pub fn log_in(&mut self, credential: &Credential, expected: &Expected<'_>) -> Outcome {
        let login = Login::by(self.site, credential)?.check(expected)?;
        if let Some(process) = login.process()
            && !self.processes.insert(process)
        {
            return Err(format!("process {process} answered twice").into());
        }
        login.print(self.page)
    }
}
