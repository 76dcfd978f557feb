//! The program `sasl-sso`.

fn main() -> std::process::ExitCode {
    sso::cli::run(std::env::args_os())
}
