use super::*;
use std::path::PathBuf;

/// An imapd.conf and a cyrus.conf in a temporary directory.
struct Files(tempfile::TempDir);

impl Files {
    fn new(imapd: &str, cyrus: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let own = files.0.path().join("own.conf").display().to_string();
        let head = "configdirectory: /x\nsasl_saslauthd_path: /run/sasl-sso/mux\n";
        std::fs::write(files.main(), format!("{head}{imapd}")).unwrap();
        let cyrus = format!("SERVICES {{\n{}\n}}\n", cyrus.replace("OWN", &own));
        std::fs::write(files.0.path().join("cyrus.conf"), cyrus).unwrap();
        files
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("imapd.conf")
    }

    fn general(&self) -> ConfFile {
        ConfFile::read(&self.main(), None).unwrap()
    }

    fn unknown(&self) -> Vec<String> {
        let general = self.general();
        let cyrus = find_cyrus_conf(None, &self.main(), general.format()).unwrap();
        unknown_entries(&general, cyrus.as_ref())
    }

    fn entries(&self) -> Result<Vec<Entry>, Vec<String>> {
        let (main, general) = (self.main(), self.general());
        let cyrus = find_cyrus_conf(None, &main, general.format()).unwrap();
        entries(&main, &general, cyrus.as_ref())
    }
}

const CYRUS: &str = "imap cmd=\"imapd\"\nimaps cmd=\"imapd -s\"\npop3 cmd=\"pop3d\"";

#[test]
fn options_of_an_entry_apply_to_its_sasl_service() {
    let files = Files::new(
        "sasl_jwt_keys: /key\npop3_sasl_jwt_require: role=pop\nimap_sasl_jwt_leeway: 30\n",
        CYRUS,
    );
    let entries = files.entries().unwrap();
    assert!(conflicts(&entries).is_empty());
    let own = with_own_options(&files.general(), &entries);
    assert_eq!(own.keys().collect::<Vec<_>>(), [&"pop"]);
    assert_eq!(own["pop"].get("jwt_require").unwrap(), "role=pop");
}

#[test]
fn entries_that_differ_under_one_sasl_service_are_a_conflict() {
    for (option, is_conflict) in [
        ("sasl_jwt_require: role=mail", true),
        ("sasl_jwt_univ_require: role=mail", true),
        ("servername: other.example", true),
        // An option of the plugin only, a default value, and an option of libsasl2.
        ("sasl_sso_plain: yes", false),
        ("sasl_jwt_leeway: 30", false),
        ("sasl_mech_list: PLAIN", false),
    ] {
        let imapd = format!("sasl_jwt_issuers: univ\nimaps_{option}\n");
        let found = conflicts(&Files::new(&imapd, CYRUS).entries().unwrap());
        assert_eq!(!found.is_empty(), is_conflict, "{option}");
        for conflict in found {
            let said = conflict.to_string();
            assert!(
                said.contains("entries imap and imaps of cyrus.conf"),
                "{said}"
            );
            let name = option.split(':').next().unwrap();
            assert!(said.contains(name), "{said}");
        }
    }
}

#[test]
fn entry_with_another_saslauthd_is_not_a_conflict() {
    let differs = "imaps_sasl_jwt_require: role=mail\n";
    for elsewhere in [
        "imaps_sasl_saslauthd_path: /run/saslauthd/mux\n",
        "sasl_pwcheck_method: saslauthd\nimaps_sasl_pwcheck_method: auxprop\n",
    ] {
        let files = Files::new(&format!("{differs}{elsewhere}"), CYRUS);
        assert!(
            conflicts(&files.entries().unwrap()).is_empty(),
            "{elsewhere}"
        );
    }
    let asks = "sasl_pwcheck_method: auxprop saslauthd\nimaps_sasl_pwcheck_method: saslauthd\n";
    let files = Files::new(&format!("{differs}{asks}"), CYRUS);
    assert_eq!(conflicts(&files.entries().unwrap()).len(), 1);
}

#[test]
fn options_of_an_entry_are_read_from_its_own_file() {
    let cyrus = "imap cmd=\"imapd\"\nwebmail cmd=\"imapd -C OWN\"";
    let files = Files::new("sasl_jwt_require: role=mail\n", cyrus);
    let own = files.0.path().join("own.conf");
    assert!(files.entries().is_err(), "the file is missing");
    let same = std::fs::read_to_string(files.main()).unwrap();
    for (text, number) in [
        (same.as_str(), 0),
        (
            "configdirectory: /x\nsasl_saslauthd_path: /run/sasl-sso/mux\n",
            1,
        ),
        ("configdirectory: /x\n", 0),
    ] {
        std::fs::write(&own, text).unwrap();
        assert_eq!(conflicts(&files.entries().unwrap()).len(), number, "{text}");
    }
}

#[test]
fn options_of_an_entry_with_unknown_sasl_name_are_a_fault() {
    let option = "webmail_sasl_jwt_require: role=mail\n";
    let files = Files::new(option, "webmail cmd=\"/opt/wrapper imapd\"");
    let unknown = files.unknown();
    assert!(unknown[0].starts_with("webmail_sasl_"), "{unknown:?}");
    // No process reads the options of a missing entry.
    let files = Files::new(option, CYRUS);
    assert!(files.unknown().is_empty());
    let missing = unknown_entries(&files.general(), None);
    assert!(missing[0].contains("--cyrus-conf"), "{missing:?}");
}

#[test]
fn session_cache_of_a_single_service_is_a_fault() {
    let files = Files::new("pop3_sasl_sso_state_dir: /run/other\n", CYRUS);
    let problems = other_session_caches(&files.general(), &files.entries().unwrap());
    assert!(
        problems[0].starts_with("pop3_sasl_sso_state_dir: "),
        "{problems:?}"
    );
}
