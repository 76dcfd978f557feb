//! Which certificates are trusted, beside what curl and OpenSSL trust on the same host.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use test_support::authority::Identity;
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{Answer, code};
use test_support::scratch::Scratch;

/// Where a certificate is that is to be trusted.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// In the directory of `SSL_CERT_DIR`, by the name that `openssl rehash` gives it.
    Hashed,
    /// There, by a name of its own.
    Unhashed,
    /// It is the file of `SSL_CERT_FILE`.
    File,
    /// It is the file of `caspt_ca_file`.
    CaFile,
}

/// Who takes a server's certificate.
#[derive(Debug, PartialEq)]
struct Taken {
    plugin: bool,
    curl: bool,
    openssl: bool,
}

const ALL: Taken = Taken {
    plugin: true,
    curl: true,
    openssl: true,
};

const NOBODY: Taken = Taken {
    plugin: false,
    curl: false,
    openssl: false,
};

fn params(name: &str, is_ca: IsCa, usages: &[KeyUsagePurpose]) -> CertificateParams {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("host names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.key_usages = usages.to_vec();
    params
}

/// A certificate that signs itself, and may sign others whatever it says of that.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    itself: Identity,
}

impl Signer {
    fn new(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let itself = Identity {
            certificate,
            key: key.serialize_pem(),
        };
        Self {
            issuer: Issuer::new(params, key),
            itself,
        }
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

const CA: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

fn server() -> CertificateParams {
    params("a server", IsCa::ExplicitNoCa, &[])
}

/// A site, and what is put where.
struct Host {
    site: Site,
    rows: usize,
}

impl Host {
    /// Puts the certificate there, has a server offer the other, and asks all three.
    fn ask(&mut self, trusted: &str, at: At, offered: &Identity) -> (Taken, Answer) {
        self.rows += 1;
        let scratch = &self.site.scratch;
        let directory = scratch.create_dir(format!("certs-{}", self.rows));
        let file = directory.join("a.pem");
        if at == At::Hashed {
            scratch.write(&file, trusted);
        }
        run(Command::new("openssl").arg("rehash").arg(&directory));
        if at != At::Hashed {
            scratch.write(&file, trusted);
        }
        let cas = FaultyCas::with(Some(offered));
        let (url, port) = (cas.url(), cas.port());
        let ticket = format!("PT-{}-trusted", self.rows);
        cas.arm(&ticket, "alice", &[PROXY]);
        let variable = match at {
            At::Hashed | At::Unhashed => format!("SSL_CERT_DIR={}", directory.display()),
            At::File => format!("SSL_CERT_FILE={}", file.display()),
            At::CaFile => "LANG=C".to_owned(),
        };
        let ca_file = match at {
            At::CaFile => file.display().to_string(),
            _ => String::new(),
        };
        let options = [("caspt_url", &*url), ("caspt_ca_file", &*ca_file)];
        let mut driver = self.site.driver_under(&["env", &variable], &options);
        let answer = driver.ticket(&ticket);
        let mut curl = without_variables();
        curl.args([&*variable, "curl", "--silent", "--noproxy", "*", &url]);
        let mut openssl = without_variables();
        openssl
            .args([
                &*variable,
                "openssl",
                "s_client",
                "-brief",
                "-verify_return_error",
            ])
            .args(["-verify_hostname", "localhost", "-connect"])
            .arg(format!("localhost:{port}"));
        if at == At::CaFile {
            curl.arg("--cacert").arg(&file);
            openssl.arg("-CAfile").arg(&file);
        }
        let taken = Taken {
            plugin: answer.code() == code::OK,
            curl: succeeds(&mut curl),
            openssl: succeeds(&mut openssl),
        };
        (taken, answer)
    }
}

/// `env`, less what the environment of the tests says of CAs.
fn without_variables() -> Command {
    let mut command = Command::new("env");
    for variable in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(variable);
    }
    command
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .stderr(Stdio::null())
        .status()
        .expect("it runs")
        .success()
}

fn run(command: &mut Command) {
    assert!(succeeds(command), "{command:?}");
}

/// A root of version 1, which has no extensions, and a server's certificate that it signed.
fn version_1(scratch: &Scratch) -> (String, Identity) {
    let at = |name: &str| -> PathBuf { scratch.join(name) };
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .current_dir(scratch.path())
            .args(arguments.split(' '));
        run(&mut command);
    };
    openssl("genrsa -out v1.key 2048");
    openssl("req -new -key v1.key -subj /CN=version-1 -out v1.csr");
    openssl("x509 -req -in v1.csr -signkey v1.key -days 30 -out v1.pem");
    openssl("genrsa -out of-v1.key 2048");
    openssl("req -new -key of-v1.key -subj /CN=server -out of-v1.csr");
    scratch.write("of-v1.ext", "subjectAltName=DNS:localhost\n");
    openssl(
        "x509 -req -in of-v1.csr -CA v1.pem -CAkey v1.key -CAcreateserial -days 30 -extfile \
         of-v1.ext -out of-v1.pem",
    );
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("reading");
    let server = Identity {
        certificate: read("of-v1.pem"),
        key: read("of-v1.key"),
    };
    (read("v1.pem"), server)
}

#[test]
fn certificates_are_trusted_as_openssl_trusts_them() {
    let mut host = Host {
        site: Site::new("trust"),
        rows: 0,
    };
    let signer =
        |name: &str, is_ca, usages: &[KeyUsagePurpose]| Signer::new(params(name, is_ca, usages));
    let certify = [KeyUsagePurpose::KeyCertSign];
    let sign = [KeyUsagePurpose::DigitalSignature];
    let private = signer("private CA", CA, &certify);
    let good = private.sign(server());
    let snakeoil = signer("snakeoil", IsCa::ExplicitNoCa, &[]);
    let silent = signer("silent", IsCa::NoCa, &[]);
    let by_usage = signer("by usage", IsCa::NoCa, &certify);
    let no_usage = signer("no usage", CA, &sign);
    let mut old = params("old CA", CA, &certify);
    old.not_after = date_time_ymd(2021, 1, 1);
    old.not_before = date_time_ymd(2020, 1, 1);
    let old = Signer::new(old);
    let mut expired = server();
    expired.not_after = date_time_ymd(2021, 1, 1);
    expired.not_before = date_time_ymd(2020, 1, 1);
    let expired = private.sign(expired);
    let elsewhere = CertificateParams::new(vec!["elsewhere.example".to_owned()]);
    let elsewhere = private.sign(elsewhere.expect("a host name"));
    // As `openssl req -x509` makes it.
    let of_req = signer("of req -x509", CA, &[]);
    let (v1, of_v1) = version_1(&host.site.scratch);
    // What is trusted for itself in the system's places, and is no CA: OpenSSL believes who
    // has its key, which on Debian a whole group has.
    let itself = Taken {
        plugin: false,
        ..ALL
    };
    let certificate = |one: &Signer| one.itself.certificate.clone();
    for (what, trusted, at, offered, expected) in [
        (
            "a private CA",
            certificate(&private),
            At::Hashed,
            &good,
            ALL,
        ),
        (
            "the same by another name",
            certificate(&private),
            At::Unhashed,
            &good,
            NOBODY,
        ),
        (
            "a CA in SSL_CERT_FILE",
            certificate(&private),
            At::File,
            &good,
            ALL,
        ),
        (
            "by snakeoil",
            certificate(&snakeoil),
            At::Hashed,
            &snakeoil.sign(server()),
            NOBODY,
        ),
        (
            "by snakeoil in a file",
            certificate(&snakeoil),
            At::File,
            &snakeoil.sign(server()),
            NOBODY,
        ),
        (
            "snakeoil itself",
            certificate(&snakeoil),
            At::Hashed,
            &snakeoil.itself,
            itself,
        ),
        (
            "by one without constraints",
            certificate(&silent),
            At::Hashed,
            &silent.sign(server()),
            NOBODY,
        ),
        (
            "by a CA by its usage",
            certificate(&by_usage),
            At::Hashed,
            &by_usage.sign(server()),
            ALL,
        ),
        (
            "by a CA that must not",
            certificate(&no_usage),
            At::Hashed,
            &no_usage.sign(server()),
            NOBODY,
        ),
        (
            "by a CA that is over",
            certificate(&old),
            At::Hashed,
            &old.sign(server()),
            NOBODY,
        ),
        ("by a root of version 1", v1, At::Hashed, &of_v1, ALL),
        (
            "one that is over",
            certificate(&private),
            At::Hashed,
            &expired,
            NOBODY,
        ),
        (
            "one of another host",
            certificate(&private),
            At::Hashed,
            &elsewhere,
            NOBODY,
        ),
        (
            "a CA in caspt_ca_file",
            certificate(&private),
            At::CaFile,
            &good,
            ALL,
        ),
        (
            "snakeoil in caspt_ca_file",
            certificate(&snakeoil),
            At::CaFile,
            &snakeoil.itself,
            ALL,
        ),
        (
            "by it",
            certificate(&snakeoil),
            At::CaFile,
            &snakeoil.sign(server()),
            NOBODY,
        ),
        (
            "a CA as a server",
            certificate(&of_req),
            At::CaFile,
            &of_req.itself,
            ALL,
        ),
        (
            "one that is over in a file",
            certificate(&private),
            At::CaFile,
            &expired,
            NOBODY,
        ),
    ] {
        let (taken, answer) = host.ask(&trusted, at, offered);
        println!("| {what} | {taken:?} |");
        assert_eq!(taken, expected, "{what}: {answer:?}");
        if !taken.plugin {
            assert_eq!(answer.reason(), "server_untrusted", "{what}");
        }
    }
}

#[test]
fn unknown_ca_is_reported_with_the_trusted_ones() {
    let mut host = Host {
        site: Site::new("unknown-ca"),
        rows: 0,
    };
    let signer = |name: &str, is_ca| Signer::new(params(name, is_ca, &[]));
    let (univ, other) = (signer("Univ CA", CA), signer("Other CA", CA));
    let same_name = signer("Univ CA", CA);
    let snakeoil = signer("snakeoil", IsCa::ExplicitNoCa);
    let offered = univ.sign(server());
    for (trusted, at, expected) in [
        (
            &other,
            At::CaFile,
            &["CN=a server", "CN=Univ CA", "CN=Other CA", "a.pem"][..],
        ),
        (
            &same_name,
            At::CaFile,
            &["CN=a server", "CN=Univ CA", "a.pem"],
        ),
        (
            &other,
            At::Hashed,
            &["CN=a server", "CN=Univ CA", "of the system", "certs-"],
        ),
    ] {
        let (_, answer) = host.ask(&trusted.itself.certificate, at, &offered);
        let detail = answer.field("detail").unwrap_or_default();
        for word in expected {
            assert!(detail.contains(word), "{word}: {detail}");
        }
        assert!(!detail.contains("caspt_ca_file"), "{detail}");
    }
    let (_, answer) = host.ask(
        &snakeoil.itself.certificate,
        At::CaFile,
        &snakeoil.sign(server()),
    );
    let detail = answer.field("detail").unwrap_or_default();
    assert!(
        detail.contains("CN=snakeoil") && detail.contains("is no CA"),
        "{detail}"
    );
}

#[test]
fn cas_of_the_environment_that_others_can_write_are_not_trusted() {
    let site = Site::new("open-trust");
    let ca = site.scratch.join("ca.pem");
    let directory = site.scratch.create_dir("certs");
    std::fs::copy(&ca, directory.join("a.pem")).expect("copying");
    run(Command::new("openssl").arg("rehash").arg(&directory));
    let set = |path: &Path, mode| {
        set_permissions(path, Permissions::from_mode(mode)).expect("setting rights");
    };
    let mut number = 0;
    let mut ask = |variable: &str| {
        number += 1;
        let ticket = format!("PT-{number}-open");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        let options = [("caspt_ca_file", "")];
        site.driver_under(&["env", variable], &options)
            .ticket(&ticket)
    };
    let file = format!("SSL_CERT_FILE={}", ca.display());
    let directories = format!("SSL_CERT_DIR=/nowhere:{}", directory.display());
    for (variable, open, modes, usual) in [
        (&file, &ca, &[0o646, 0o664][..], 0o644),
        (&directories, &directory, &[0o777, 0o1777, 0o775], 0o755),
        (
            &directories,
            &directory.join("a.pem"),
            &[0o666, 0o664],
            0o644,
        ),
    ] {
        assert_eq!(ask(variable).code(), code::OK, "{variable}");
        for mode in modes {
            set(open, *mode);
            let answer = ask(variable);
            assert_eq!(answer.code(), code::UNAVAIL, "{variable} {mode:o}");
            assert_eq!(answer.reason(), "trust_unusable", "{variable} {mode:o}");
            let detail = answer.field("detail").unwrap_or_default();
            assert!(detail.contains("chmod go-w"), "{detail}");
        }
        set(open, usual);
    }
}
