//! Tests that need root.

/// Returns whether the test runs as root. If not, reports that the test was skipped. `SECURITY.md`
/// marks such tests.
pub fn can_as_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let test = std::thread::current();
        let name = test.name().unwrap_or("a test").to_owned();
        // The test runner captures the output of the print macros.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("{name}: skipped, because it needs root\n").as_bytes(),
        );
    }
    is_root
}
