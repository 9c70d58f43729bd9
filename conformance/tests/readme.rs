//! The README's programs are the examples that are compiled.

const README: &str = include_str!("../../README.md");

fn check(example: &str) {
    let program = example
        .split_once("\n\n")
        .expect("a line that says what it is, and the program")
        .1;
    assert!(
        README.contains(&format!("```rust\n{program}```")),
        "the README has another program than:\n{program}"
    );
}

#[test]
fn the_readme_shows_the_examples_that_are_compiled() {
    check(include_str!(
        "../../adapters/tokio/examples/readme_tokio.rs"
    ));
    check(include_str!("../../adapters/smol/examples/readme_smol.rs"));
    check(include_str!(
        "../../adapters/async-std/examples/readme_async_std.rs"
    ));
}
