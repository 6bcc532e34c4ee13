//! Charts as SVG. A table next to each contains the same data.

use maud::{Markup, html};

/// A column of stacked parts.
#[derive(Debug)]
pub struct Column {
    pub label: String,
    /// A value for each of the chart's series.
    pub values: Vec<f64>,
}

/// A part of a line: where it starts and ends, as fractions of the line.
#[derive(Debug)]
pub struct Part {
    pub class: &'static str,
    pub title: String,
    pub start: f64,
    pub end: f64,
    /// The second of the clip to which a click on it seeks.
    pub seek: Option<f64>,
}

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 200.0;
/// The maximum width of a column.
const WIDEST: f64 = 44.0;
/// Space for the numbers on the left and for the labels below.
const AXES: (f64, f64) = (84.0, 22.0);
/// Space for half a label on the right.
const MARGIN: f64 = 24.0;
/// How many labels fit below.
const LABELS: usize = 12;

/// Columns of `series`, each with a class and a name; `number` formats their sums.
pub fn columns(
    title: &str,
    series: &[(&'static str, &str)],
    columns: &[Column],
    number: impl Fn(f64) -> String,
) -> Markup {
    let sum = |column: &Column| column.values.iter().sum::<f64>();
    let most = columns.iter().map(sum).fold(0.0, f64::max);
    html! {
        figure .chart {
            figcaption { (title) (legend(series)) }
            div .scroll tabindex="0" role="region" aria-label=(title) {
                svg role="img" aria-label=(format!("{title}: at most {}", number(most)))
                    viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                    (grid(most, &number))
                    @for (index, column) in columns.iter().enumerate() {
                        (stack(index, columns.len(), column, series, most, &number))
                    }
                }
            }
            details {
                summary { "As a table" }
                (table(series, columns, &number))
            }
        }
    }
}

fn legend(series: &[(&'static str, &str)]) -> Markup {
    html! {
        ul .legend {
            @for (class, name) in series {
                li { span class={ "swatch " (class) } aria-hidden="true" {} (name) }
            }
        }
    }
}

fn grid(most: f64, number: &impl Fn(f64) -> String) -> Markup {
    let bottom = HEIGHT - AXES.1;
    html! {
        @for (part, value) in [(0.0, most), (1.0, 0.0)] {
            @let y = 6.0 + part * (bottom - 6.0);
            line .grid x1=(AXES.0) x2=(WIDTH) y1=(y) y2=(y) {}
            text .axis x=(AXES.0 - 6.0) y=(y + 4.0) text-anchor="end" { (number(value)) }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few columns")]
fn stack(
    index: usize,
    count: usize,
    column: &Column,
    series: &[(&'static str, &str)],
    most: f64,
    number: &impl Fn(f64) -> String,
) -> Markup {
    let (bottom, step) = (HEIGHT - AXES.1, (WIDTH - AXES.0 - MARGIN) / count as f64);
    let width = (step * 0.76).min(WIDEST);
    let x = AXES.0 + step * index as f64;
    let mut y = bottom;
    let parts = series
        .iter()
        .zip(&column.values)
        .map(|((class, name), value)| {
            let height = if most > 0.0 {
                value / most * (bottom - 6.0)
            } else {
                0.0
            };
            y -= height;
            (
                class,
                format!("{}, {name}: {}", column.label, number(*value)),
                y,
                height,
            )
        });
    html! {
        @for (class, title, y, height) in parts.collect::<Vec<_>>() {
            @if height > 0.0 {
                rect class=(class) x=(format!("{:.1}", x + (step - width) / 2.0)) y=(format!("{y:.1}"))
                    width=(format!("{width:.1}")) height=(format!("{height:.1}")) {
                    title { (title) }
                }
            }
        }
        @if index.is_multiple_of(count.div_ceil(LABELS)) {
            text .axis x=(format!("{:.1}", x + step / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" {
                (column.label)
            }
        }
    }
}

fn table(
    series: &[(&'static str, &str)],
    columns: &[Column],
    number: &impl Fn(f64) -> String,
) -> Markup {
    let mut names = vec!["From (UTC)"];
    names.extend(series.iter().map(|(_, name)| *name));
    html! {
        table {
            (super::html::head_of_table(&names))
            tbody {
                @for column in columns {
                    tr {
                        th scope="row" { (column.label) }
                        @for value in &column.values { td { (number(*value)) } }
                    }
                }
            }
        }
    }
}

/// Parts of a line, side by side.
pub fn line(label: &str, parts: &[Part]) -> Markup {
    html! {
        svg .line role="img" aria-label=(label) viewBox="0 0 1000 24" preserveAspectRatio="none" {
            pattern #hatch width="8" height="8" patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)" {
                rect .hatch-ground width="8" height="8" {}
                rect .hatch-line width="3" height="8" {}
            }
            @for part in parts {
                rect class=(part.class) y="0" height="24" x=(thousandths(part.start))
                    width=(thousandths((part.end - part.start).max(0.003))) data-seek=[part.seek] {
                    title { (part.title) }
                }
            }
        }
    }
}

fn thousandths(part: f64) -> String {
    format!("{:.1}", part * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_chart_divides_by_nothing() {
        let empty = Column {
            label: "Mon".into(),
            values: vec![0.0, 0.0],
        };
        let svg = columns(
            "Clips",
            &[("available", "available"), ("failed", "failed")],
            &[empty],
            |n| n.to_string(),
        );
        assert!(!svg.into_string().contains("NaN"));
        assert!(
            !columns("Clips", &[], &[], |n| n.to_string())
                .into_string()
                .contains("NaN")
        );
    }

    #[test]
    fn label_of_a_stranger_stays_text() {
        let part = Part {
            class: "copied",
            title: "<script>alert(1)</script>".into(),
            start: 0.0,
            end: 1.0,
            seek: None,
        };
        let svg = line("\"><script>", &[part]).into_string();
        assert!(!svg.contains("<script"), "{svg}");
    }
}
