//! The states of an execution as a waterfall of durations.

use super::{graph, html::head_of_table};
use crate::{history::State, when};
use maud::{Markup, html};

/// The states in order, each with its duration.
pub fn table(states: &[State]) -> Markup {
    let begin = states.first().map(|state| state.entered_at);
    let offset =
        |state: &State| begin.map_or(0.0, |begin| (state.entered_at - begin).as_seconds_f64());
    let all = states
        .iter()
        .map(|state| offset(state) + state.duration_seconds)
        .fold(0.001, f64::max);
    html! {
        div .scroll tabindex="0" role="region" aria-label="Durations" {
            table .waterfall {
                (head_of_table(&["State", "When", "Took"]))
                tbody {
                    @for state in states {
                        @let (class, mark, became) = graph::fate(state);
                        tr {
                            th scope="row" {
                                span class={ "mark " (class) } aria-hidden="true" { (mark) }
                                " " (state.name)
                            }
                            td .bar { (bar(state, class, offset(state) / all, all)) }
                            td .number { (when::span(state.duration_seconds)) }
                        }
                        (attempts(state, became))
                    }
                }
            }
        }
    }
}

fn bar(state: &State, class: &str, start: f64, all: f64) -> Markup {
    let width = (state.duration_seconds / all * 1000.0).max(3.0);
    let x = (start * 1000.0).min(997.0);
    html! {
        svg class=(class) viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
            rect x=(format!("{x:.1}")) width=(format!("{width:.1}")) height="12" rx="2" {}
        }
    }
}

/// How often a state was retried, and what went wrong.
fn attempts(state: &State, became: &str) -> Markup {
    let retries = match state.retries {
        0 => None,
        1 => Some("1 retry".to_owned()),
        retries => Some(format!("{retries} retries")),
    };
    html! {
        @if retries.is_some() || !state.errors.is_empty() {
            tr .attempts {
                td colspan="3" {
                    @if let Some(retries) = retries { p { (retries) } }
                    @for error in &state.errors {
                        p .error { strong { (error.reason) } ": " (error.message) }
                    }
                    @if became != graph::DONE { p .sub { (became) } }
                }
            }
        }
    }
}
