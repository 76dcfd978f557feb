//! The program `sasl-sso`.

fn main() -> std::process::ExitCode {
    sso_cli::commands::run(std::env::args_os())
}
