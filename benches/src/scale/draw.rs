//! Charts as SVG: logarithmic axes on white, a legend beside them.

use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::{
    ChartBuilder, Circle, DashedLineSeries, IntoDrawingArea, LineSeries, PathElement, RGBColor,
    SVGBackend, ShapeStyle, Text, WHITE,
};
use plotters::style::{Color, IntoFont};

use super::chart::{Chart, Kind, grouped};
use crate::contestants::Problem;

const SIZE: (u32, u32) = (900, 480);
const CHART_WIDTH: u32 = 660;
/// The height of a line of the legend.
const LINE: i32 = 22;
/// Colours that differ for those, too, who see few of them.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0xbb, 0xaa, 0x33),
];

/// The picture of a chart.
///
/// # Errors
/// There is nothing to draw.
pub fn svg(chart: &Chart) -> Result<String, Problem> {
    let mut text = String::new();
    draw(chart, &mut text)?;
    Ok(text)
}

fn draw(chart: &Chart, to: &mut String) -> Result<(), Problem> {
    let (x, y) = chart.bounds().ok_or("there is nothing to draw")?;
    let root = SVGBackend::with_string(to, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(CHART_WIDTH);
    let mut axes = ChartBuilder::on(&left)
        .caption(&chart.title, ("sans-serif", 19).into_font())
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
    axes.configure_mesh()
        .x_desc(chart.x)
        .y_desc(chart.y)
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .light_line_style(RGBColor(0xf0, 0xf0, 0xf0))
        .bold_line_style(RGBColor(0xd8, 0xd8, 0xd8))
        .draw()?;
    for (at, series) in chart.series.iter().enumerate() {
        let style = style(at, series.kind);
        match series.kind {
            Kind::Ropewalk | Kind::Peer => {
                axes.draw_series(LineSeries::new(series.drawable(), style))?;
            }
            Kind::Bound => {
                axes.draw_series(DashedLineSeries::new(series.drawable(), 6, 4, style))?;
            }
        }
        let dot = style.color.filled();
        axes.draw_series(series.drawable().map(|point| Circle::new(point, 3, dot)))?;
        let height = 40 + LINE * i32::try_from(at)?;
        let dashes: &[(i32, i32)] = match series.kind {
            Kind::Ropewalk | Kind::Peer => &[(0, 22)],
            Kind::Bound => &[(0, 6), (9, 15), (18, 22)],
        };
        for (from, to) in dashes {
            let dash = vec![(*from, height), (*to, height)];
            right.draw(&PathElement::new(dash, style))?;
        }
        let label = ("sans-serif", 14).into_font();
        right.draw(&Text::new(series.name.clone(), (30, height - 7), label))?;
    }
    root.present()?;
    Ok(())
}

fn style(at: usize, kind: Kind) -> ShapeStyle {
    let colour = COLOURS[at % COLOURS.len()];
    match kind {
        Kind::Ropewalk => colour.stroke_width(3),
        Kind::Peer | Kind::Bound => colour.stroke_width(1),
    }
}

/// What stands at an axis.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a power of ten that a chart has"
)]
fn number(value: f64) -> String {
    match value {
        1.0.. => grouped(value.round() as u64),
        _ => format!("{value:.3}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Series;
    use super::*;

    fn chart(series: usize) -> Chart {
        let kinds = [Kind::Ropewalk, Kind::Peer, Kind::Bound];
        Chart {
            name: "it".to_owned(),
            title: "What it costs".to_owned(),
            x: "connections",
            y: "ns a message",
            series: (0..series)
                .map(|at| Series {
                    name: format!("client {at}"),
                    kind: kinds[at % 3],
                    points: (0..7)
                        .map(|x| (10_f64.powi(x), 300.0 + 10.0 * f64::from(x)))
                        .collect(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_picture_names_its_axes_and_everybody_and_is_small() {
        let text = svg(&chart(9)).expect("it is drawn");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for part in [
            "What it costs",
            "connections",
            "ns a message",
            "client 0",
            "client 8",
            "100,000",
        ] {
            assert!(text.contains(part), "no {part}");
        }
        assert!(text.len() < 60_000, "{} bytes", text.len());
    }

    #[test]
    fn nothing_is_not_drawn() {
        assert!(svg(&chart(0)).is_err());
    }
}
