//! What is printed.

use super::judge::Verdict;
use super::plan::Ending;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Json,
}

/// A pass and how long it took.
pub(crate) struct Line {
    pub(crate) verdict: Verdict,
    pub(crate) seconds: f64,
}

const HEADINGS: [&str; 13] = [
    "pass",
    "messages",
    "sockets",
    "resets",
    "ends",
    "closes",
    "repeated",
    "undelivered",
    "lost",
    "reordered",
    "duplicates",
    "seconds",
    "a second",
];

pub(crate) fn print(runtime: &str, seed: u64, form: Form, lines: &[Line]) {
    match form {
        Form::Table => print_table(runtime, seed, lines),
        Form::Json => print_json(runtime, seed, lines),
    }
}

fn print_table(runtime: &str, seed: u64, lines: &[Line]) {
    println!("{runtime}, seed {seed}, peak memory {} MiB\n", peak() >> 20);
    let rows: Vec<[String; 13]> = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(lines.iter().map(Line::cells))
        .collect();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let widest = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            match column {
                0 => format!("{cell:widest$}"),
                _ => format!("{cell:>widest$}"),
            }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
    println!();
    for Line { verdict, .. } in lines {
        let accounted = verdict.accounted;
        if accounted.all() > 0 {
            println!(
                "{}: of those undelivered {} were written, {} interrupted, {} not sent, {} on a socket that was reset",
                verdict.pass,
                accounted.written,
                accounted.interrupted,
                accounted.not_sent,
                accounted.reset
            );
        }
        if !verdict.holds() {
            println!(
                "{}: BROKEN: contradicted {}, problems {:#?}",
                verdict.pass,
                verdict.contradicted,
                verdict.problems.iter().take(20).collect::<Vec<_>>()
            );
        }
    }
}

fn print_json(runtime: &str, seed: u64, lines: &[Line]) {
    let passes = lines.iter().map(|Line { verdict, seconds }| {
        let endings = Ending::ALL
            .iter()
            .zip(verdict.endings)
            .map(|(ending, count)| format!(r#""{}":{count}"#, ending.name()));
        let accounted = verdict.accounted;
        format!(
            concat!(
                r#"{{"pass":"{}","messages":{},"sockets":{},"endings":{{{}}},"repeated":{},"#,
                r#""undelivered":{{"written":{},"interrupted":{},"not_sent":{},"reset":{}}},"#,
                r#""lost":{},"reordered":{},"duplicates":{},"contradicted":{},"problems":{},"seconds":{:.3}}}"#
            ),
            verdict.pass,
            verdict.messages,
            verdict.sockets,
            endings.collect::<Vec<_>>().join(","),
            verdict.repeated,
            accounted.written,
            accounted.interrupted,
            accounted.not_sent,
            accounted.reset,
            verdict.lost,
            verdict.reordered,
            verdict.duplicates,
            verdict.contradicted,
            verdict.problems.len(),
            seconds
        )
    });
    println!(
        r#"{{"runtime":"{runtime}","seed":{seed},"memory_peak_bytes":{},"passes":[{}]}}"#,
        peak(),
        passes.collect::<Vec<_>>().join(",")
    );
}

impl Line {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is shown to the message"
    )]
    fn cells(&self) -> [String; 13] {
        let Verdict {
            pass,
            messages,
            sockets,
            endings,
            repeated,
            accounted,
            lost,
            reordered,
            duplicates,
            ..
        } = &self.verdict;
        let [reset, reset_mid, eof, eof_mid, close] = endings;
        let rate = *messages as f64 / self.seconds.max(0.001);
        let counts = [
            *messages,
            *sockets,
            reset + reset_mid,
            eof + eof_mid,
            *close,
            *repeated,
            accounted.all(),
            *lost,
            *reordered,
            *duplicates,
        ];
        let mut cells = vec![pass.to_string()];
        cells.extend(counts.map(|count| count.to_string()));
        cells.push(format!("{:.1}", self.seconds));
        cells.push((rate as u64).to_string());
        cells.try_into().expect("there is a cell for each heading")
    }
}

/// The largest resident set so far, in bytes; 0 where the system does not tell.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
