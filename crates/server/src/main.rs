//! The `doorward` binary.

use std::process::ExitCode;

use clap::Parser as _;
use doorward::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Of clap's own accord it would be 2, which says that `directory plan` has something to do.
        Err(error) => {
            let printed = error.print();
            return ExitCode::from(u8::from(printed.is_err() || error.use_stderr()));
        }
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            ExitCode::FAILURE
        }
    }
}
