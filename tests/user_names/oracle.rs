//! The oracle: the user that a principal means, computed without the code under test.

/// The mapping of principals to mail users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    None,
    /// `sso_strip_domain: guests.fr GUESTS`
    Strip,
    /// `sso_realm: other.fr`
    Realm,
}

/// `virtdomains` of the host, whose default domain is univ.fr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualDomains {
    Off,
    UserId,
    On,
}

pub const MAPPINGS: [Mapping; 3] = [Mapping::None, Mapping::Strip, Mapping::Realm];

pub const VIRTUAL_DOMAINS: [VirtualDomains; 3] = [
    VirtualDomains::Off,
    VirtualDomains::UserId,
    VirtualDomains::On,
];

/// One configuration of the table.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub virtual_domains: VirtualDomains,
    pub mapping: Mapping,
}

impl Names {
    /// The lines of imapd.conf.
    pub fn lines(self) -> Vec<(&'static str, &'static str)> {
        let virtual_domains = match self.virtual_domains {
            VirtualDomains::Off => "off",
            VirtualDomains::UserId => "userid",
            VirtualDomains::On => "on",
        };
        let mut lines = vec![
            ("virtdomains", virtual_domains),
            ("loginrealms", "univ.fr other.fr guests.fr"),
            ("admins", "cyrus"),
        ];
        // Without virtdomains imapd 3.6.1 aborts if a name has the default domain.
        if self.virtual_domains != VirtualDomains::Off {
            lines.push(("defaultdomain", "univ.fr"));
        }
        match self.mapping {
            Mapping::None => {}
            Mapping::Strip => lines.push(("sasl_sso_strip_domain", "guests.fr GUESTS")),
            Mapping::Realm => lines.push(("sasl_sso_realm", "other.fr")),
        }
        lines
    }

    /// Users who have an INBOX before anybody else logs in. Without virtdomains imapd 3.6.1 creates
    /// none for a name with a domain.
    pub fn victims(self) -> Vec<&'static str> {
        let users = [
            "alice",
            "bob",
            "alice@other.fr",
            "bob@other.fr",
            "bob@guests.fr",
        ];
        let has_inbox = |user: &&str| {
            self.owner(user) == **user
                && (self.virtual_domains != VirtualDomains::Off || !user.contains('@'))
        };
        users.into_iter().filter(has_inbox).collect()
    }

    /// The mail user of a principal.
    pub fn mail_user(self, principal: &str) -> String {
        let lower = principal.to_ascii_lowercase();
        match self.mapping {
            Mapping::Strip if lower.ends_with("@guests.fr") => {
                principal[..principal.len() - "@guests.fr".len()].to_owned()
            }
            Mapping::Strip if lower.starts_with("guests\\") => {
                principal["guests\\".len()..].to_owned()
            }
            Mapping::Realm if !principal.contains('@') => format!("{principal}@other.fr"),
            _ => principal.to_owned(),
        }
    }

    /// The person that a mail user's name means. Upper and lower case are equal, and so are a name
    /// with and without the default domain where domains are part of names.
    pub fn person(self, mail_user: &str) -> String {
        let name = mail_user.to_ascii_lowercase();
        match (self.virtual_domains, name.strip_suffix("@univ.fr")) {
            (VirtualDomains::UserId | VirtualDomains::On, Some(local)) => local.to_owned(),
            _ => name,
        }
    }

    /// The owner of the only mailbox that a principal may open.
    pub fn owner(self, principal: &str) -> String {
        self.person(&self.mail_user(principal))
    }
}
