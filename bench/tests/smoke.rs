//! The harness against the bare server alone, start to end; `run --smoke` with the real server is `test.sh`'s.

use std::process::Command;

#[test]
fn the_bare_server_survives_every_scenario_with_every_answer_checked() {
    let scratch = tempfile::tempdir().unwrap();
    let results = scratch.path().join("results.json");
    let output = Command::new(env!("CARGO_BIN_EXE_doorward-bench"))
        .args(["run", "--smoke", "--bare-only", "--scratch"])
        .arg(scratch.path())
        .arg("--json")
        .arg(&results)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let table = String::from_utf8(output.stdout).unwrap();
    for scenario in ["registration", "pending poll", "refresh, durable", "role credentials"] {
        assert!(table.contains(&format!("| {scenario} | 8 | bare |")), "{table}");
    }
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(&results).unwrap()).unwrap();
    let samples = results["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 4);
    assert!(samples.iter().all(|sample| sample["requests"].as_u64() > Some(0) && sample["errors"] == 0));

    // Only the results are left behind.
    let left: Vec<_> =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["results.json"]);
}
