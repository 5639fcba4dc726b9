//! Doorward's benchmark: how fast the real server is next to a bare one on the same HTTP stack.
//!
//! `run` is the whole benchmark; `bare` is the reference server, which `run` starts by itself.
//! The figures that count are ratios taken in one run; `README.md` beside this crate says how to read them.

mod bare;
mod lab;
mod load;
mod process;
mod report;
mod run;
mod stored;
mod subject;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The same allocator as the real server's, so that the comparison does not measure allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "doorward-bench", about = "Doorward's speed next to a bare server on the same HTTP stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start both servers, load them in turns, print the table.
    Run(run::Options),
    /// What a refresh costs with few and with many sessions in the store, and on PostgreSQL.
    Stored(stored::Options),
    /// Be the bare reference server.
    Bare(bare::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Stored(options) => stored::run(&options),
        Command::Bare(options) => bare::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
