//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod application;
mod check;
mod check_broker;
mod check_sources;
mod copy;
mod dev;
mod directory;
mod hash_password;
mod key;
mod progress;
mod run;
mod serve;

/// A self-hosted IAM Identity Center for anything that speaks the AWS APIs.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server for development, with people, accounts and roles, on this machine alone.
    Dev(dev::Options),
    /// Start a server for production.
    Serve(serve::Options),
    /// Say what is wrong with a production server's configuration, keys, store and certificate.
    Check(check::Options),
    /// People, groups, accounts, permission sets and assignments as code: what would change, and the change.
    #[command(subcommand)]
    Directory(directory::Command),
    /// Copy everything a server keeps to a new file, while it goes on serving.
    Backup(copy::BackupOptions),
    /// Copy a backup into an empty data directory or database, before its server starts.
    Restore(copy::RestoreOptions),
    /// Move everything to another data directory or database, while no server runs.
    Migrate(copy::MigrateOptions),
    /// The keys that sign what others verify.
    #[command(subcommand)]
    Key(key::Command),
    /// Applications: OAuth clients in the directory.
    #[command(subcommand)]
    Application(application::Command),
    /// Print the hash of a password, for `password_hash` in the directory file.
    HashPassword,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, in words for whoever typed the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(options) => dev::run(&options).map(|()| ExitCode::SUCCESS),
            Command::Serve(options) => serve::run(&options).map(|()| ExitCode::SUCCESS),
            Command::Check(options) => Ok(check::run(&options)),
            Command::Directory(command) => directory::run(&command),
            Command::Backup(options) => copy::backup(&options).map(|()| ExitCode::SUCCESS),
            Command::Restore(options) => copy::restore(&options).map(|()| ExitCode::SUCCESS),
            Command::Migrate(options) => copy::migrate(&options).map(|()| ExitCode::SUCCESS),
            Command::Key(command) => key::run(&command).map(|()| ExitCode::SUCCESS),
            Command::Application(application::Command::Secret(options)) => {
                application::secret(&options).map(|()| ExitCode::SUCCESS)
            }
            Command::HashPassword => hash_password::run().map(|()| ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_option_of_any_command_gets_in_the_way_of_another() {
        super::Cli::command().debug_assert();
    }
}
