//! The trusted CAs: those of a file, or those that OpenSSL trusts on this host.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use crate::platform::file_permissions;

/// The files with all CAs of the system, on Debian, Red Hat and others. The first one that exists
/// is read.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The directory in which OpenSSL looks a CA up by the hash of its name, on all of these systems.
const DIRECTORY: &str = "/etc/ssl/certs";

/// Trust anchors.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The CAs.
    pub(crate) store: RootCertStore,
    /// The certificates of a file that was configured for this server. Each is trusted for itself,
    /// whether it is a CA or not.
    pub(crate) pinned: Vec<CertificateDer<'static>>,
    /// Where the certificates come from.
    pub(crate) source: Source,
}

/// A source of certificates.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file that the administrator has configured.
    File(PathBuf),
    /// Files and directories of the system.
    System(Vec<PathBuf>),
}

impl Roots {
    /// Reads the certificates of `path`, as processes of `user`, if known.
    ///
    /// # Errors
    /// A sentence that names the file and the problem.
    pub(crate) fn of_file(path: &Path, user: Option<Uid>) -> Result<Self, String> {
        let complain = |problem: &dyn fmt::Display| named(path, problem);
        let pem = read(path, PermissionCheck::For(user))?;
        let mut roots = Self {
            store: RootCertStore::empty(),
            pinned: Vec::new(),
            source: Source::File(path.to_owned()),
        };
        let mut expired = Vec::new();
        for der in CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(|error| complain(&error))?;
            let read = Certificate::from_der(&der)
                .ok_or_else(|| complain(&"has a certificate that cannot be read"))?;
            match read.has_expired(UnixTime::now()) {
                true => expired.push(read.subject()),
                false if read.is_ca_for_servers() => {
                    roots
                        .store
                        .add(der.clone())
                        .map_err(|error| complain(&error))?;
                    roots.pinned.push(der);
                }
                false => roots.pinned.push(der),
            }
        }
        match (&roots.pinned[..], &expired[..]) {
            ([], []) => Err(complain(&"has no certificate in it")),
            ([], [subject, ..]) => {
                let problem =
                    format!("the certificate of {subject} has ended; put its successor there");
                Err(complain(&problem))
            }
            _ => Ok(roots),
        }
    }

    /// Reads the certificates that OpenSSL trusts by default: the file of `SSL_CERT_FILE` and the
    /// directories of `SSL_CERT_DIR`; where one of these is not set, the system's.
    ///
    /// # Errors
    /// A sentence that names the problem.
    pub(crate) fn of_system() -> Result<Self, String> {
        let (file, directories) = (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"));
        let user = PermissionCheck::For(Some(Uid::effective()));
        let mut found = System::new();
        match &file {
            Some(file) => found.add_file(Path::new(file), user)?,
            None => {
                let mut bundles = BUNDLES.iter().map(Path::new);
                if let Some(bundle) = bundles.find(|bundle| bundle.is_file()) {
                    found.add_file(bundle, PermissionCheck::AsSystem)?;
                }
            }
        }
        match &directories {
            Some(directories) => {
                for directory in env::split_paths(directories) {
                    found.add_directory(&directory, user)?;
                }
            }
            None => found.add_directory(Path::new(DIRECTORY), PermissionCheck::AsSystem)?,
        }
        if !found.store.is_empty() {
            return Ok(Self {
                store: found.store,
                pinned: Vec::new(),
                source: Source::System(found.places),
            });
        }
        let named: Vec<&str> = [("SSL_CERT_FILE", &file), ("SSL_CERT_DIR", &directories)]
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|_| name))
            .collect();
        Err(match named[..] {
            [] => {
                "the system trusts no CA: install ca-certificates, or name a file of CAs".to_owned()
            }
            _ => format!(
                "there is no CA where {} say; name another place",
                named.join(" and ")
            ),
        })
    }
}

/// How the permissions of a file are checked.
#[derive(Clone, Copy)]
enum PermissionCheck {
    /// The administrator has configured the file: only this user and root may write to it.
    For(Option<Uid>),
    /// The file belongs to the system: who can write to it can replace more than this file.
    AsSystem,
}

/// The certificates found in the files and directories of the system.
struct System {
    store: RootCertStore,
    places: Vec<PathBuf>,
    /// The certificates seen so far: most are both in the bundle and in the directory.
    seen: HashSet<CertificateDer<'static>>,
}

impl System {
    fn new() -> Self {
        Self {
            store: RootCertStore::empty(),
            places: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// Adds the CAs of a file, if it exists.
    fn add_file(&mut self, path: &Path, permissions: PermissionCheck) -> Result<(), String> {
        if path.exists() {
            let pem = read(path, permissions)?;
            self.places.push(path.to_owned());
            self.add(&pem);
        }
        Ok(())
    }

    /// Adds the CAs of a directory, from the files that OpenSSL would read.
    fn add_directory(&mut self, path: &Path, permissions: PermissionCheck) -> Result<(), String> {
        let Ok(entries) = fs::read_dir(path) else {
            return Ok(());
        };
        if let PermissionCheck::For(user) = permissions {
            let metadata = fs::metadata(path).map_err(|error| named(path, &error))?;
            file_permissions::check_unwritable(path, &metadata, user)?;
            file_permissions::check_irreplaceable(path, user)?;
        }
        let entries = entries.filter_map(Result::ok);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.retain(|name| is_hashed(name));
        names.sort_unstable();
        for name in names {
            let path = path.join(name);
            // The name may be a dangling link.
            if path.is_file() {
                self.add(&read(&path, permissions)?);
            }
        }
        self.places.push(path.to_owned());
        Ok(())
    }

    /// Adds the CAs of a PEM text. Certificates that cannot be parsed, that are no CAs or that have
    /// expired are left out.
    fn add(&mut self, pem: &[u8]) {
        let now = UnixTime::now();
        for der in CertificateDer::pem_slice_iter(pem).filter_map(Result::ok) {
            if self.seen.contains(&der) {
                continue;
            }
            let read = Certificate::from_der(&der);
            if read.is_some_and(|read| read.is_ca_for_servers() && !read.has_expired(now)) {
                self.store.add_parsable_certificates([der.clone()]);
            }
            self.seen.insert(der);
        }
    }
}

/// Whether OpenSSL reads a file of this name in a directory of CAs: the hash of the subject's name
/// and a number (`openssl-rehash(1)`).
fn is_hashed(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let Some((hash, [b'.', number @ ..])) = name.split_at_checked(8) else {
        return false;
    };
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hash.iter().all(is_hex) && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// The value of an environment variable. A program with more privileges than its caller ignores the
/// environment (secure_getenv(3)).
fn variable(name: &str) -> Option<std::ffi::OsString> {
    let is_its_own = Uid::current() == Uid::effective() && Gid::current() == Gid::effective();
    env::var_os(name).filter(|_| is_its_own)
}

/// Reads a file of certificates.
fn read(path: &Path, permissions: PermissionCheck) -> Result<Vec<u8>, String> {
    // Reading anything but a regular file, such as a pipe, could block.
    let metadata = fs::metadata(path).map_err(|error| named(path, &error))?;
    if !metadata.is_file() {
        return Err(named(path, &"is not a file"));
    }
    if let PermissionCheck::For(user) = permissions {
        file_permissions::check_unwritable(path, &metadata, user)?;
        file_permissions::check_irreplaceable(path, user)?;
    }
    fs::read(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, problem: &dyn fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
    };

    fn of_file(path: &Path) -> Result<Roots, String> {
        Roots::of_file(path, Some(Uid::effective()))
    }

    fn pem(name: &str, is_ca: IsCa, year: i32) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_after = date_time_ymd(year, 1, 1);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
    }

    const CA: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

    #[test]
    fn file_without_certificates_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let problem = || of_file(&path).unwrap_err();
        assert!(problem().contains("No such file"), "{}", problem());
        fs::write(&path, "no certificate\n").unwrap();
        assert!(
            problem().ends_with("has no certificate in it"),
            "{}",
            problem()
        );
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&path, junk).unwrap();
        assert!(
            problem().starts_with(&path.display().to_string()),
            "{}",
            problem()
        );
        fs::write(&path, pem("old.univ.fr", CA, 2000)).unwrap();
        assert!(problem().contains("has ended"), "{}", problem());
    }

    #[test]
    fn only_ca_certificates_are_anchors_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        for (text, cas, pinned) in [
            (pem("ca.univ.fr", CA, 3000), 1, 1),
            (pem("host.univ.fr", IsCa::NoCa, 3000), 0, 1),
            (pem("host.univ.fr", IsCa::ExplicitNoCa, 3000), 0, 1),
            (
                pem("old.univ.fr", CA, 2000) + &pem("new.univ.fr", CA, 3000),
                1,
                1,
            ),
        ] {
            fs::write(&path, text).unwrap();
            let roots = of_file(&path).unwrap();
            assert_eq!((roots.store.len(), roots.pinned.len()), (cas, pinned));
        }
    }

    #[test]
    fn ca_whose_extended_key_usage_excludes_servers_is_no_root() {
        let pem = |purposes: &[ExtendedKeyUsagePurpose]| {
            let mut params = CertificateParams::new(vec!["ca.univ.fr".to_owned()]).unwrap();
            params.is_ca = CA;
            params.extended_key_usages = purposes.to_vec();
            let key = KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().pem()
        };
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        for (purposes, cas) in [
            (&[][..], 1),
            (&[ServerAuth], 1),
            (&[Any], 1),
            (&[ClientAuth, ServerAuth], 1),
            (&[ClientAuth], 0),
        ] {
            let pem = pem(purposes);
            fs::write(&path, &pem).unwrap();
            let roots = of_file(&path).unwrap();
            assert_eq!(roots.store.len(), cas, "{purposes:?}");
            let mut system = System::new();
            system.add(pem.as_bytes());
            assert_eq!(system.store.len(), cas, "{purposes:?}");
        }
    }

    #[test]
    fn ca_file_that_others_can_write_or_replace_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let above = directory.path().join("above");
        fs::create_dir(&above).unwrap();
        let path = above.join("ca.pem");
        fs::write(&path, pem("ca.univ.fr", CA, 3000)).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for (at, mode, usual) in [
            (&path, 0o646, 0o644),
            (&path, 0o664, 0o644),
            (&above, 0o777, 0o755),
            (&above, 0o775, 0o755),
        ] {
            set(at, mode);
            let problem = of_file(&path).unwrap_err();
            let remedy = format!("; chmod go-w {}", at.display());
            assert!(problem.ends_with(&remedy), "{problem}");
            set(at, usual);
            assert!(of_file(&path).is_ok());
        }
        if Uid::effective().is_root() {
            for at in [&path, &above] {
                std::os::unix::fs::chown(at, Some(65_534), None).unwrap();
                let problem = of_file(&path).unwrap_err();
                let remedy = format!("; chown root {}", at.display());
                assert!(problem.ends_with(&remedy), "{problem}");
                std::os::unix::fs::chown(at, Some(0), None).unwrap();
            }
        }
    }

    #[test]
    fn ca_file_that_could_block_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("ca.pem");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(of_file(&pipe).unwrap_err().ends_with("is not a file"));
    }

    #[test]
    fn only_hashed_names_of_a_directory_are_read() {
        for (name, is) in [
            ("5ed36f99.0", true),
            ("0123abcd.12", true),
            ("ca.pem", false),
            ("5ed36f99.r0", false),
            ("5ed36f99.", false),
            ("5ed36f99", false),
            ("5ED36F99.0", false),
            ("5ed36f9.0", false),
            ("5ed36f990.0", false),
            ("5ed36f99.0.bak", false),
            ("univ-ca.crt", false),
            ("\u{e9}ed36f9.0", false),
        ] {
            assert_eq!(is_hashed(OsStr::new(name)), is, "{name}");
        }
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let hashed = pem("hashed.univ.fr", CA, 3000);
        write("5ed36f99.0", &hashed);
        write("copy.pem", &hashed);
        write("private-ca.pem", &pem("unhashed.univ.fr", CA, 3000));
        write(
            "0123abcd.0",
            &pem("snakeoil.univ.fr", IsCa::ExplicitNoCa, 3000),
        );
        write("0123abcd.1", &pem("old.univ.fr", CA, 2000));
        write("0123abcd.2", "junk");
        write("0123abcd.3", &hashed);
        let mut system = System::new();
        let user = PermissionCheck::For(Some(Uid::effective()));
        system.add_directory(directory.path(), user).unwrap();
        assert_eq!(system.store.len(), 1);
        let missing = directory.path().join("missing");
        system.add_directory(&missing, user).unwrap();
        system.add_file(&missing, user).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(system.add_directory(directory.path(), user).is_err());
        assert!(
            system
                .add_directory(directory.path(), PermissionCheck::AsSystem)
                .is_ok()
        );
    }
}
