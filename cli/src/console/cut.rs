//! How a clip was cut, and which parts of a camera's window it covers: each as a line and as a
//! table.

use super::{
    charts::{self, Part},
    html::head_of_table,
};
use maud::{Markup, html};
use model::{recordings::Coverage, timestamp::clock};
use serde_json::Value;

/// A part of a clip, in seconds.
#[derive(Debug, PartialEq)]
struct Span {
    is_encoded: bool,
    start: f64,
    end: f64,
}

impl Span {
    fn how(&self) -> &'static str {
        if self.is_encoded { "encoded" } else { "copied" }
    }
}

/// Which parts of the clip were copied and which were encoded.
pub fn cutting(output: &Value) -> Markup {
    let all = output["delivered"]["durationSeconds"].as_f64();
    let spans = all.filter(|all| *all > 0.0).and_then(|all| {
        let spans = spans(&output["engine"], all)?;
        Some((spans, all))
    });
    let Some((spans, all)) = spans else {
        return html! {};
    };
    let part = |span: &Span| Part {
        class: span.how(),
        title: format!("{}: {:.2} s to {:.2} s", span.how(), span.start, span.end),
        start: span.start / all,
        end: span.end / all,
        seek: Some(span.start),
    };
    let sum = |how: &str| {
        let alike = spans.iter().filter(|span| span.how() == how);
        alike.fold(0.0, |sum, span| sum + span.end - span.start)
    };
    let sums = ["copied", "encoded"].map(|how| (how, sum(how)));
    let label = sums
        .map(|(how, seconds)| format!("{seconds:.2} s {how}"))
        .join(", ");
    html! {
        section .cutting aria-label="How it was cut" {
            h2 { "How it was cut" }
            (charts::line(&label, &spans.iter().map(part).collect::<Vec<_>>()))
            ul .legend {
                @for (how, seconds) in sums {
                    li {
                        span class={ "swatch " (how) } aria-hidden="true" {}
                        (how) " " (format!("{seconds:.2} s ({:.0} %)", seconds / all * 100.0))
                    }
                }
            }
            details #parts { summary { "As a table" } (table(&spans)) }
        }
    }
}

fn table(spans: &[Span]) -> Markup {
    html! {
        table {
            (head_of_table(&["From", "To", "Pictures"]))
            tbody {
                @for span in spans {
                    tr {
                        td { (format!("{:.3} s", span.start)) }
                        td { (format!("{:.3} s", span.end)) }
                        td { (span.how()) }
                    }
                }
            }
        }
    }
}

/// The parts of a clip of `all` seconds, in order. `None` if the outcome does not say.
fn spans(engine: &Value, all: f64) -> Option<Vec<Span>> {
    let whole = |is_encoded| {
        Some(vec![Span {
            is_encoded,
            start: 0.0,
            end: all,
        }])
    };
    if engine["name"] == "transcode" {
        return whole(true);
    }
    match engine["cutting"]["method"].as_str()? {
        "copy" => return whole(false),
        "encodedWhole" => return whole(true),
        _ => {}
    }
    let (mut spans, mut time) = (Vec::new(), 0.0);
    let mut add = |is_encoded, start: f64, end: f64| {
        if end - start > 1e-6 {
            spans.push(Span {
                is_encoded,
                start,
                end,
            });
        }
    };
    for interval in engine["cutting"]["encoded"].as_array()? {
        let start = interval["startSeconds"].as_f64()?.clamp(time, all);
        let end = interval["endSeconds"].as_f64()?.clamp(start, all);
        add(false, time, start);
        add(true, start, end);
        time = end;
    }
    add(false, time, all);
    Some(spans)
}

/// A part of a camera's window, in milliseconds since 1970, and why it is missing, if it is.
struct Piece {
    start_ms: i64,
    end_ms: i64,
    why: Option<String>,
}

impl Piece {
    fn text(&self) -> &str {
        self.why.as_deref().unwrap_or("covered")
    }
}

/// The parts of a camera's window that recordings cover.
pub fn coverage(output: &Value) -> Markup {
    let coverage = serde_json::from_value(output["delivered"]["coverage"].clone());
    let pieces = coverage.map(pieces).unwrap_or_default();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return html! {};
    };
    let (begin, all) = (first.start_ms, (last.end_ms - first.start_ms).max(1));
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of hours at most")]
    let place = |ms: i64| (ms - begin) as f64 / all as f64;
    let part = |piece: &Piece| Part {
        class: if piece.why.is_some() {
            "missing"
        } else {
            "covered"
        },
        title: format!(
            "{} to {}: {}",
            clock(piece.start_ms),
            clock(piece.end_ms),
            piece.text()
        ),
        start: place(piece.start_ms),
        end: place(piece.end_ms),
        seek: None,
    };
    let parts: Vec<Part> = pieces.iter().map(part).collect();
    html! {
        section aria-label="Coverage" {
            h2 { "Coverage of the camera's window" }
            (charts::line("What recordings cover of the window", &parts))
            table {
                (head_of_table(&["From (UTC)", "To", "Recordings"]))
                tbody {
                    @for piece in &pieces {
                        tr {
                            td { (clock(piece.start_ms)) }
                            td { (clock(piece.end_ms)) }
                            td { (piece.text()) }
                        }
                    }
                }
            }
        }
    }
}

/// What is covered and what is missing, in order.
fn pieces(coverage: Coverage) -> Vec<Piece> {
    let covered = coverage
        .covered
        .into_iter()
        .map(|interval| (interval, None));
    let missing = coverage.missing.into_iter().map(|gap| {
        let why = gap.reason.unwrap_or_else(|| "no recording".to_owned());
        (gap.interval, Some(why))
    });
    let pieces = covered.chain(missing).map(|(interval, why)| Piece {
        start_ms: interval.start_ms,
        end_ms: interval.end_ms,
        why,
    });
    let mut pieces: Vec<Piece> = pieces.collect();
    pieces.sort_by_key(|piece| piece.start_ms);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(engine: &Value) -> Option<Vec<(&'static str, f64, f64)>> {
        let spans = spans(engine, 10.0)?;
        let told = spans.iter().map(|span| (span.how(), span.start, span.end));
        Some(told.collect())
    }

    #[test]
    fn every_second_of_a_clip_is_copied_or_encoded() {
        let encoded =
            json!([{"startSeconds": 0, "endSeconds": 1.5}, {"startSeconds": 9, "endSeconds": 99}]);
        let smart = json!({"name": "trim", "cutting": {"method": "smartCut", "encoded": encoded}});
        assert_eq!(
            told(&smart),
            Some(vec![
                ("encoded", 0.0, 1.5),
                ("copied", 1.5, 9.0),
                ("encoded", 9.0, 10.0)
            ])
        );
        let copy = json!({"name": "trim", "cutting": {"method": "copy"}});
        assert_eq!(told(&copy), Some(vec![("copied", 0.0, 10.0)]));
        let transcode = json!({"name": "transcode"});
        assert_eq!(told(&transcode), Some(vec![("encoded", 0.0, 10.0)]));
    }

    #[test]
    fn outcome_that_does_not_tell_draws_nothing() {
        assert_eq!(told(&json!({"name": "trim", "why": "copied"})), None);
        for output in [json!({}), json!({"delivered": {"durationSeconds": 0}})] {
            assert_eq!(
                cutting(&output).into_string() + &coverage(&output).into_string(),
                ""
            );
        }
    }

    #[test]
    fn gap_stands_between_what_is_covered() {
        let coverage = json!({"delivered": {"coverage": {
            "covered": [{"startTimestampInMs": 0, "endTimestampInMs": 4000}, {"startTimestampInMs": 8000, "endTimestampInMs": 9000}],
            "missing": [{"startTimestampInMs": 4000, "endTimestampInMs": 8000, "reason": "<damaged>"}]}}});
        let html = super::coverage(&coverage).into_string();
        let order = [
            html.find("covered</td>"),
            html.find("&lt;damaged&gt;</td>"),
            html.rfind("covered</td>"),
        ];
        assert!(order.is_sorted() && order[0].is_some(), "{html}");
    }
}
