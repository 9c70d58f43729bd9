//! How something depends on a number: as a table, and as what a picture needs.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

/// How something depends on a number, for several.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// The name of its file, without the ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The number.
    pub x: &'static str,
    /// What depends on it, with its unit.
    pub y: &'static str,
    /// For whom.
    pub series: Vec<Series>,
}

/// One line of a chart.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Of whom.
    pub name: String,
    /// How it is drawn.
    pub kind: Kind,
    /// What was measured at which number.
    pub points: Vec<(f64, f64)>,
}

/// What a line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This library.
    Ropewalk,
    /// Another one.
    Peer,
    /// What nobody can do without, or what is to be expected.
    Bound,
}

/// Where an axis begins and ends: powers of ten.
pub(super) type Bounds = (f64, f64);

impl Series {
    /// What has a place on logarithmic axes.
    pub(super) fn drawable(&self) -> impl Iterator<Item = (f64, f64)> + Clone + '_ {
        let has_place = |value: f64| value.is_finite() && value > 0.0;
        let points = self.points.iter().copied();
        points.filter(move |(x, y)| has_place(*x) && has_place(*y))
    }
}

impl Chart {
    /// What both axes must hold; `None` if there is nothing to draw.
    pub(super) fn bounds(&self) -> Option<(Bounds, Bounds)> {
        let points = || self.series.iter().flat_map(Series::drawable);
        let x = decades(points().map(|(x, _)| x))?;
        let y = decades(points().map(|(_, y)| y))?;
        Some((x, y))
    }

    /// The same as a table: a column for each number, a line for each series.
    pub fn markdown(&self) -> String {
        let numbers: BTreeSet<u64> = self
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|(x, _)| whole(*x))
            .collect();
        let mut text = format!("### {}\n\n{}, by {} |", self.title, self.y, self.x);
        let mut line = "|---|".to_owned();
        let head = text.rfind('\n').map_or(0, |at| at + 1);
        text.insert_str(head, "| ");
        for number in &numbers {
            let _ = write!(text, " {} |", grouped(*number));
            line.push_str("---:|");
        }
        let _ = write!(text, "\n{line}\n");
        for series in &self.series {
            let _ = write!(text, "| {} |", series.name);
            for number in &numbers {
                let here = |point: &&(f64, f64)| whole(point.0) == *number;
                match series.points.iter().find(here) {
                    Some((_, y)) if y.is_finite() => {
                        let digits = digits(*y);
                        let _ = write!(text, " {y:.digits$} |");
                    }
                    Some(_) | None => text.push_str(" – |"),
                }
            }
            text.push('\n');
        }
        text
    }
}

/// The powers of ten around all values.
fn decades(values: impl Iterator<Item = f64>) -> Option<Bounds> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        return None;
    }
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    // A single power of ten is no axis.
    let high = high.max(low + 1.0);
    Some((10_f64.powf(low), 10_f64.powf(high)))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of connections"
)]
fn whole(x: f64) -> u64 {
    x.round() as u64
}

/// A number as people write it: `15,000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn digits(value: f64) -> usize {
    match value.abs() {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[&[(f64, f64)]]) -> Chart {
        Chart {
            name: "it".to_owned(),
            title: "It".to_owned(),
            x: "connections",
            y: "ns a message",
            series: points
                .iter()
                .map(|points| Series {
                    name: "somebody".to_owned(),
                    kind: Kind::Peer,
                    points: points.to_vec(),
                })
                .collect(),
        }
    }

    #[test]
    fn axes_reach_from_one_power_of_ten_to_another() {
        let chart = chart(&[&[(1.0, 330.0), (15_000.0, 990.0)], &[(10.0, 2_100.0)]]);
        assert_eq!(chart.bounds(), Some(((1.0, 100_000.0), (100.0, 10_000.0))));
    }

    #[test]
    fn what_a_logarithm_does_not_have_is_not_drawn() {
        let empty = chart(&[&[(1.0, 0.0), (10.0, f64::NAN), (0.0, 5.0)]]);
        assert_eq!(empty.bounds(), None);
        assert_eq!(empty.series[0].drawable().count(), 0);
        let one = chart(&[&[(1.0, 0.0), (10.0, 10.0)]]);
        assert_eq!(one.bounds(), Some(((10.0, 100.0), (10.0, 100.0))));
    }

    #[test]
    fn a_table_has_a_column_for_each_number_and_says_what_is_missing() {
        let chart = chart(&[&[(1.0, 5.25), (15_000.0, 123.4)], &[(10.0, 0.0)]]);
        assert_eq!(
            chart.markdown(),
            "### It\n\n| ns a message, by connections | 1 | 10 | 15,000 |\n|---|---:|---:|---:|\n\
             | somebody | 5.25 | – | 123 |\n| somebody | – | 0.00 | – |\n"
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (100, "100"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
