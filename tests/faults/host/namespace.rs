//! Runs a program with its own name service configuration, in a private mount namespace.

use test_support::scratch::Scratch;

const BIND_AND_EXEC: &str = r#"
for file in hosts resolv.conf nsswitch.conf; do
    mount --bind "$0/$file" "/etc/$file" || exit 1
done
exec "$@"
"#;

/// Returns the command prefix that runs a driver with these hosts and this resolver configuration.
pub fn with_names(scratch: &Scratch, hosts: &str, resolver: &str) -> Vec<String> {
    let directory = scratch.create_dir("etc");
    scratch.write("etc/hosts", hosts);
    scratch.write("etc/resolv.conf", resolver);
    scratch.write("etc/nsswitch.conf", "hosts: files dns\npasswd: files\n");
    let mut words = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        words.push("--map-root-user");
    }
    words.extend(["sh", "-c", BIND_AND_EXEC]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.push(directory.display().to_string());
    words
}

/// Borrows the words of a command prefix.
pub fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}
