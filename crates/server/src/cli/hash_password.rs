//! `doorward hash-password`: reads a password from standard input, prints its hash.

use std::io::{self, IsTerminal as _};

use doorward_core::secret::Password;
use doorward_upstream::identity::local;
use zeroize::Zeroizing;

use crate::ambient::{OsEntropy, draw};

pub(super) fn run() -> anyhow::Result<()> {
    if io::stdin().is_terminal() {
        eprintln!("Type the password, then Enter. It is shown as you type; pipe it in to avoid that.");
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin().read_line(&mut line)?;
    let password = Password::new(line.trim_end_matches(['\r', '\n']));
    println!("{}", local::hash(&password, &draw(&OsEntropy::default()))?);
    Ok(())
}
