//! The tables of rules cite tests that exist.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const RFC_6455: &str = include_str!("../rfc6455.md");
const RFC_7692: &str = include_str!("../rfc7692.md");

/// A rule's row: its section, what it says, and the tests that show it.
struct Row<'a> {
    section: &'a str,
    rule: &'a str,
    citations: Vec<&'a str>,
}

#[test]
fn every_rule_of_rfc_6455_cites_a_test_and_every_cited_test_exists() {
    assert_eq!(problems(RFC_6455, 20), [""; 0]);
}

#[test]
fn every_rule_of_rfc_7692_cites_a_test_and_every_cited_test_exists() {
    assert_eq!(problems(RFC_7692, 10), [""; 0]);
}

#[test]
fn a_rule_without_a_test_and_a_test_that_is_not_there_are_noticed() {
    let table = "| § | rule | tests |\n|---|---|---|\n| 7.1 | one | |\n| 7.2 | two | `core/src/seed.rs::none` |\n";
    let problems = problems(table, 2);
    assert_eq!(problems[0], "§7.1 one: no test");
    assert_eq!(problems[1], "§7.2 two: core/src/seed.rs has no test `none`");
    assert_eq!(problems.len(), 2);
}

/// What is wrong with a table, which has rules of so many sections at least.
fn problems(table: &str, sections_min: usize) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = rows(table);
    let sections: BTreeSet<_> = rows.iter().map(|row| row.section).collect();
    assert!(
        sections.len() >= sections_min,
        "the table cannot be read: {sections:?}"
    );
    let mut problems = Vec::new();
    for row in &rows {
        let place = format!("§{} {}", row.section, row.rule);
        if row.citations.is_empty() {
            problems.push(format!("{place}: no test"));
        }
        for citation in &row.citations {
            if let Err(problem) = find(&root, citation) {
                problems.push(format!("{place}: {problem}"));
            }
        }
    }
    problems
}

#[test]
fn a_citation_of_something_else_than_a_test_is_noticed() {
    let source = "
        fn helper() {}
        #[test]
        #[should_panic(expected = \"x\")]
        fn a_rule_holds() {}
        #[test]
        fn another_rule_holds(x in any::<u8>()) {}
        // #[test]
        // fn one_that_was_commented_out() {}
    ";
    assert!(has_test(source, "a_rule_holds"));
    assert!(has_test(source, "another_rule_holds"));
    for name in [
        "helper",
        "a_rule",
        "rule_holds",
        "one_that_was_commented_out",
    ] {
        assert!(!has_test(source, name), "{name}");
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(find(here, "tests/rfc_table.rs").is_err());
    assert!(find(here, "tests/rfc_table.rs::rows").is_err());
    assert!(find(here, "scenarios/there-is-none.scn").is_err());
    assert!(find(here, "../README.md").is_err());
}

fn rows(table: &str) -> Vec<Row<'_>> {
    table
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
            let [section, rule, citations, ""] = cells[..] else {
                panic!("a row does not have three cells: {line}");
            };
            section
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| Row {
                    section,
                    rule,
                    citations: citations
                        .split_whitespace()
                        .map(|word| word.trim_matches('`'))
                        .collect(),
                })
        })
        .collect()
}

/// A citation is `path::test`, or the path of a scenario: all of those are played by tests of their own.
fn find(root: &Path, citation: &str) -> Result<(), String> {
    let (path, test) = match citation.split_once("::") {
        Some((path, test)) if path.ends_with(".rs") => (path, Some(test)),
        None if citation.ends_with(".scn") => (citation, None),
        Some(_) | None => return Err(format!("`{citation}` is neither a test nor a scenario")),
    };
    let source = fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
    match test {
        Some(test) if !has_test(&source, test) => Err(format!("{path} has no test `{test}`")),
        Some(_) | None => Ok(()),
    }
}

/// Whether the source has this function with `#[test]` among the attributes before it.
fn has_test(source: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("fn ") {
            Some(function) => {
                let signature = function.strip_prefix(name);
                if is_test && signature.is_some_and(|rest| rest.starts_with('(')) {
                    return true;
                }
                is_test = false;
            }
            None if line == "#[test]" => is_test = true,
            None if line.starts_with("#[") => {}
            None => is_test = false,
        }
    }
    false
}
