//! A definition as a graph: one box for each state, in order of execution, coloured by how the state ended.

use crate::history::{self, State};
use maud::{Markup, html};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const BOX: (usize, usize) = (132, 34);
const GAP: (usize, usize) = (28, 26);
const MARGIN: usize = 8;
/// The distance between lines that run beside the boxes.
const LANE: usize = 12;

/// The states of a definition, and the arrows between them.
#[derive(Debug, PartialEq)]
pub struct Graph {
    /// Names of states, by the row that they are in.
    rows: Vec<Vec<String>>,
    arrows: Vec<Arrow>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    /// Whether it is followed after an error.
    catches: bool,
}

impl Graph {
    /// The graph of a definition; `None` if it is not a definition.
    pub fn of(definition: &Value) -> Option<Self> {
        let states = definition["States"].as_object()?;
        let start = definition["StartAt"].as_str()?;
        let mut arrows = BTreeSet::new();
        for (from, state) in states {
            let choices = state["Choices"].as_array().into_iter().flatten();
            let next = choices
                .chain([state])
                .flat_map(|one| [&one["Next"], &one["Default"]]);
            let caught = state["Catch"].as_array().into_iter().flatten();
            let caught = caught.map(|catch| (&catch["Next"], true));
            for (to, catches) in next.map(|next| (next, false)).chain(caught) {
                if let Some(to) = to.as_str().filter(|to| states.contains_key(*to)) {
                    let (from, to) = (from.clone(), to.to_owned());
                    arrows.insert(Arrow { from, to, catches });
                }
            }
        }
        let arrows: Vec<Arrow> = arrows.into_iter().collect();
        let rows = rows(states.keys(), start, &arrows);
        Some(Self { rows, arrows })
    }

    /// The graph as SVG, with the states of an execution.
    pub fn svg(&self, states: &[State]) -> Markup {
        let places = self.places();
        let right = places.values().map(|(x, _)| x + BOX.0).max().unwrap_or(0);
        let bottom = places.values().map(|(_, y)| y + BOX.1).max().unwrap_or(0);
        let lanes = self.lanes(right);
        let size = (right + LANE * (lanes.len() + 1), bottom + MARGIN);
        let path: Vec<_> = states.iter().map(|state| state.name.as_str()).collect();
        let is_taken =
            |arrow: &&Arrow| path.windows(2).any(|pair| pair == [&arrow.from, &arrow.to]);
        // Taken arrows are drawn over the others.
        let (taken, others): (Vec<_>, Vec<_>) = self.arrows.iter().partition(is_taken);
        let arrows = others.into_iter().map(|arrow| (arrow, false));
        let arrows = arrows.chain(taken.into_iter().map(|arrow| (arrow, true)));
        html! {
            svg .graph role="img" aria-label=(format!("The path taken: {}", path.join(", ")))
                width=(size.0) height=(size.1) viewBox={ "0 0 " (size.0) " " (size.1) } {
                marker #arrow-head viewBox="0 0 8 8" refX="3" refY="4" markerWidth="8"
                    markerHeight="8" orient="auto" markerUnits="userSpaceOnUse" {
                    path d="M0 0L8 4L0 8z" {}
                }
                @for (arrow, is_taken) in arrows {
                    path .arrow .catch[arrow.catches] .taken[is_taken] marker-end="url(#arrow-head)"
                        d=(self.line(arrow, &places, &lanes)) {}
                }
                @for (name, place) in &places {
                    (node(name, *place, states.iter().rfind(|state| state.name == **name)))
                }
            }
        }
    }

    /// The lanes beside the boxes for arrows from afar, by target state.
    fn lanes(&self, right: usize) -> BTreeMap<&str, usize> {
        let afar = self.arrows.iter().filter(|arrow| self.is_beside(arrow));
        let targets: BTreeSet<&str> = afar.map(|arrow| arrow.to.as_str()).collect();
        let mut targets: Vec<&str> = targets.into_iter().collect();
        targets.sort_by_key(|target| self.row(target));
        let lanes = targets.into_iter().zip(1..);
        lanes
            .map(|(target, lane)| (target, right + LANE * lane))
            .collect()
    }

    /// Where the upper left corners of the boxes are.
    fn places(&self) -> BTreeMap<&str, (usize, usize)> {
        let widest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut places = BTreeMap::new();
        for (row, names) in self.rows.iter().enumerate() {
            let left = MARGIN + (widest - names.len()) * (BOX.0 + GAP.0) / 2;
            for (column, name) in names.iter().enumerate() {
                let x = left + column * (BOX.0 + GAP.0);
                places.insert(name.as_str(), (x, MARGIN + row * (BOX.1 + GAP.1)));
            }
        }
        places
    }

    fn row(&self, name: &str) -> usize {
        let row = |names: &Vec<String>| names.iter().any(|one| one == name);
        self.rows.iter().position(row).unwrap_or(0)
    }

    /// Whether an arrow leads neither to the next row nor within one, so that it runs beside the boxes.
    fn is_beside(&self, arrow: &Arrow) -> bool {
        let (from, to) = (self.row(&arrow.from), self.row(&arrow.to));
        arrow.from == arrow.to || (to != from + 1 && to != from)
    }

    /// Whether a box is the last of its row.
    fn is_last(&self, name: &str) -> bool {
        self.rows[self.row(name)]
            .last()
            .is_some_and(|last| last == name)
    }

    /// The line of an arrow, as an SVG path.
    fn line(
        &self,
        arrow: &Arrow,
        places: &BTreeMap<&str, (usize, usize)>,
        lanes: &BTreeMap<&str, usize>,
    ) -> String {
        let (from, to) = (places[arrow.from.as_str()], places[arrow.to.as_str()]);
        let (middle, end) = (from.1 + BOX.1 / 2, to.0 + BOX.0 / 2);
        if let Some(lane) = lanes
            .get(arrow.to.as_str())
            .filter(|_| self.is_beside(arrow))
        {
            let end_y = to.1 + BOX.1 / 2 - 6;
            let end = to.0 + BOX.0 + 5;
            return if self.is_last(&arrow.from) {
                let begin = from.0 + BOX.0;
                format!("M{begin} {} H{lane} V{end_y} H{end}", middle + 6)
            } else {
                // Around the boxes on its right.
                let (begin, y) = (from.0 + BOX.0 - 16, from.1 + BOX.1);
                format!("M{begin} {y} V{} H{lane} V{end_y} H{end}", y + GAP.1 / 2)
            };
        }
        if from.1 == to.1 {
            return if to.0 > from.0 {
                format!("M{} {middle} H{}", from.0 + BOX.0, to.0 - 5)
            } else {
                format!("M{} {middle} H{}", from.0, to.0 + BOX.0 + 5)
            };
        }
        let (begin, y, end_y) = (from.0 + BOX.0 / 2, from.1 + BOX.1, to.1 - 5);
        format!(
            "M{begin} {y} C{begin} {} {end} {} {end} {end_y}",
            y + 12,
            end_y - 12
        )
    }
}

fn node(name: &str, (x, y): (usize, usize), state: Option<&State>) -> Markup {
    let (class, mark, title) = match state {
        None => ("node", "", format!("{name}: not entered")),
        Some(state) => {
            let (class, mark, became) = fate(state);
            (class, mark, format!("{name}: {became}"))
        }
    };
    html! {
        g class=(class) {
            title { (title) }
            rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" {}
            text x=(x + BOX.0 / 2) y=(y + BOX.1 / 2 + 4) text-anchor="middle" {
                @if !mark.is_empty() { (mark) " " } (name)
            }
        }
    }
}

/// The fate of a state that was left without an error that matters.
pub const DONE: &str = "done";

/// A state's fate: its class, its symbol, and its name.
pub fn fate(state: &State) -> (&'static str, &'static str, &'static str) {
    match state.status {
        history::Status::Running => ("node running", "…", "under way"),
        history::Status::Failed => ("node failed", "✗", "failed"),
        // It retried, or its error was caught.
        history::Status::Exited if state.errors.len() > state.retries => {
            ("node caught", "!", "its error was caught")
        }
        history::Status::Exited => ("node exited", "✓", DONE),
    }
}

/// The rows of states: each after all states that lead to it, ignoring errors. A state that only errors lead to comes
/// after the states that raise them.
fn rows<'a>(
    names: impl Iterator<Item = &'a String>,
    start: &str,
    arrows: &[Arrow],
) -> Vec<Vec<String>> {
    let names: Vec<&String> = names.collect();
    let mut row = BTreeMap::from([(start, 0)]);
    for with_errors in [false, true] {
        let fixed: BTreeSet<&str> = if with_errors {
            row.keys().copied().collect()
        } else {
            BTreeSet::new()
        };
        // A cycle would never end.
        for _ in 0..names.len() {
            for arrow in arrows.iter().filter(|arrow| with_errors || !arrow.catches) {
                let Some(behind) = row.get(arrow.from.as_str()).map(|from| from + 1) else {
                    continue;
                };
                if !fixed.contains(arrow.to.as_str()) && arrow.to != start && behind < names.len() {
                    let to = row.entry(&arrow.to).or_insert(behind);
                    *to = behind.max(*to);
                }
            }
        }
    }
    let mut rows = vec![Vec::new(); row.values().max().map_or(0, |last| last + 1)];
    for name in names {
        if let Some(row) = row.get(name.as_str()) {
            rows[*row].push(name.clone());
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_state_stands_behind_those_that_lead_to_it() {
        let definition = include_str!("../../../statemachine/clip.asl.json");
        let graph = Graph::of(&serde_json::from_str(definition).expect("JSON")).expect("a graph");
        let rows: Vec<_> = graph.rows.iter().map(|row| row.join(" ")).collect();
        let expected = [
            "Validate",
            "Probe",
            "ChooseEngine",
            "Transcode Trim",
            "Verify",
            "Thumbnail",
            "Store",
            "Notify",
        ];
        let sorted: Vec<_> = rows
            .iter()
            .map(|row| {
                let mut names: Vec<_> = row.split(' ').collect();
                names.sort_unstable();
                names.join(" ")
            })
            .collect();
        assert_eq!(sorted, expected);
        let caught = |from: &str, to: &str| {
            graph
                .arrows
                .iter()
                .any(|arrow| arrow.catches && arrow.from == from && arrow.to == to)
        };
        assert!(
            caught("Probe", "Store") && caught("Probe", "Probe") && caught("Trim", "Transcode")
        );
    }

    #[test]
    fn cycle_and_unknown_state_do_no_harm() {
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Next": "B"}, "B": {"Next": "A"}, "C": {"Next": "<script>"}}});
        let graph = Graph::of(&definition).expect("a graph");
        assert_eq!(graph.rows, [["A"], ["B"]]);
        assert!(Graph::of(&json!("no definition")).is_none());
    }
}
