//! A host with name services of its own: in a mount namespace, so that nobody else notices.

use crate::harness::scratch::Scratch;

const BECOME: &str = r#"
for file in hosts resolv.conf nsswitch.conf; do
    mount --bind "$0/$file" "/etc/$file" || exit 1
done
exec "$@"
"#;

/// What to run a driver under, so that it has these hosts and this resolver.
pub fn with_names(scratch: &Scratch, hosts: &str, resolver: &str) -> Vec<String> {
    let directory = scratch.create_dir("etc");
    scratch.write("etc/hosts", hosts);
    scratch.write("etc/resolv.conf", resolver);
    scratch.write("etc/nsswitch.conf", "hosts: files dns\npasswd: files\n");
    let mut words = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        words.push("--map-root-user");
    }
    words.extend(["sh", "-c", BECOME]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.push(directory.display().to_string());
    words
}

/// As a driver takes them.
pub fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}
