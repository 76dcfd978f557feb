//! Tests that only root can try.

/// Whether we are root; if not, says that it was not tried. `SECURITY.md` marks such tests.
pub fn can_as_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let test = std::thread::current();
        let name = test.name().unwrap_or("a test").to_owned();
        // What is printed is kept from who would read it.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("{name}: not tried, for only root can\n").as_bytes(),
        );
    }
    is_root
}
