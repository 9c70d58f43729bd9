//! `ropewalk demo` from outside.

mod support;

use serde_json::Value;
use support::{RUNTIMES, run, text};

fn sum(rows: &[Value], key: &str) -> u64 {
    let number = |row: &Value| row[key].as_u64().expect("every row has every count");
    rows.iter().map(number).sum()
}

#[test]
fn nothing_is_lost_and_the_figures_agree_on_every_runtime() {
    for runtime in RUNTIMES {
        let arguments = [
            "--runtime",
            runtime,
            "--connections",
            "12",
            "--for",
            "3s",
            "--seed",
            "7",
        ];
        let output = run(&[&["demo", "--json"], &arguments[..]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{report:#}\n{}",
            text(&output.stderr)
        );
        assert_eq!(report["lost"], 0);
        assert_eq!(report["runtime"], runtime);
        assert_eq!(report["seed"], 7);
        let rows = report["connections"].as_array().unwrap();
        assert_eq!(rows.len(), 12);
        let received = sum(rows, "received");
        assert!(received > 0);
        let fates = sum(rows, "delivered") + sum(rows, "filtered") + sum(rows, "dead");
        assert_eq!(received, fates);
        let faults = report["faults"].as_object().unwrap();
        let happened = faults
            .values()
            .filter(|count| count.as_u64() > Some(0))
            .count();
        assert!(happened >= 6, "{report:#}");
        assert!(sum(rows, "reconnects") > 0, "{report:#}");

        let letters = &report["letters"];
        let stored = letters["stored"].as_u64().unwrap();
        assert!(stored >= sum(rows, "dead"), "{report:#}");
        assert!(stored > 0, "{report:#}");
        assert_eq!(letters["redriven"], stored);
        assert_eq!(letters["delivered"], stored);
        assert_eq!(letters["waiting"], 0);
        assert_eq!(sum(rows, "redriven"), stored);
        let kinds = letters["kinds"].as_array().unwrap();
        assert_eq!(sum(kinds, "count"), stored);

        assert!(report["batches"]["count"].as_u64() > Some(0));
        assert!(report["retried"].as_u64() > Some(0));
        assert!(report["scaled"].as_u64() > Some(0), "{report:#}");
        assert_eq!(report["workers"]["out_of_bounds"], 0);
        assert!(report["workers"]["most"].as_u64() > Some(1), "{report:#}");
    }
}

#[test]
fn people_get_a_table_that_ends_with_what_was_lost() {
    let output = run(&["demo", "--connections", "2", "--for", "500ms"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert_eq!(shown.lines().last(), Some("lost 0"));
    for words in [
        "backoff 50ms to 1s",
        "100 redials a second",
        "feed-0",
        "feed-1",
        "reconnects",
        "dead letters",
        "Redriving",
        "letters stored",
    ] {
        assert!(shown.contains(words), "{words} in\n{shown}");
    }
    assert_eq!(text(&output.stderr), "", "progress is for terminals");
}
