//! Directories beside the seeded one.

use doorward::dev::seed;
use doorward_core::directory::DirectoryFile;
use serde_json::{Value, json};

/// The seeded people, and 250 accounts, from 000000000001 on, in each of which ada has the roles Role1 to Role7.
#[must_use]
pub fn large_directory() -> DirectoryFile {
    let accounts: Vec<String> = (1..=250).map(|n| format!("{n:012}")).collect();
    let roles: Vec<String> = (1..=7).map(|n| format!("Role{n}")).collect();
    let account = |id: &String| json!({"id": id, "name": format!("Account {id}")});
    let directory = json!({
        "people": seed::directory().expect("the seeded directory is right").people,
        "accounts": accounts.iter().map(account).collect::<Value>(),
        "permission_sets": roles.iter().map(|name| json!({"name": name})).collect::<Value>(),
        "assignments": [{"people": ["ada"], "accounts": accounts, "permission_sets": roles}],
    });
    serde_json::from_value(directory).expect("a directory as operators write it")
}
