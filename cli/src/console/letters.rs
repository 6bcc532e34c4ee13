//! The page of dead letters.

use super::{
    answer::Answer,
    html::{head_of_table, page},
    state::Shared,
};
use crate::{
    dlq::{DeadLetters, Which},
    failure::Failure,
};
use axum::{Form, extract::State, http::HeaderMap};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

/// How many messages are shown at most.
const MOST: usize = 100;

/// Which messages to replay: one, or all.
#[derive(Debug, Deserialize)]
pub struct Replay {
    id: Option<String>,
}

/// Answers with the page; the messages follow later, because SQS needs seconds to say that there are no more.
pub async fn show(State(console): State<Shared>, headers: HeaderMap) -> Result<Answer, Failure> {
    if headers.contains_key("hx-request") {
        let queue = DeadLetters::of(&console.deployment, None)?;
        let messages = queue.list(MOST).await?;
        return Ok(Answer::Page(table(&messages, console.frame.is_read_only)));
    }
    let content = html! {
        h1 { "Dead letters" }
        p .sub { "Requests that start could not process. Viewing them hides them from other readers for a moment." }
        div hx-get="/dead-letters" hx-trigger="load" hx-swap="outerHTML" {
            p .empty role="status" { "Asking the queue…" }
        }
    };
    Ok(Answer::Page(page(
        &console.frame,
        "Dead letters",
        "/dead-letters",
        &content,
    )))
}

/// Sends messages back to the request queue.
pub async fn replay(
    State(console): State<Shared>,
    Form(replay): Form<Replay>,
) -> Result<Answer, Failure> {
    let which = Which {
        all: replay.id.is_none(),
        ids: replay.id.into_iter().collect(),
    };
    let queue = DeadLetters::of(&console.deployment, None)?;
    queue.replay(&which, None).await?.into_result()?;
    Ok(Answer::To("/dead-letters".to_owned()))
}

fn table(messages: &[Value], is_read_only: bool) -> Markup {
    let text =
        |message: &Value, field: &str| message[field].as_str().unwrap_or_default().to_owned();
    html! {
        div {
            @if messages.is_empty() { p .empty { "There are none." } } @else {
                @if !is_read_only { (replay_form(None, messages.len())) }
                table .letters {
                    (head_of_table(&["Sent (UTC)", "Problem", "Message", ""]))
                    tbody {
                        @for message in messages {
                            tr {
                                td { (text(message, "sentAt")) }
                                td { (text(message, "problem")) }
                                td { pre tabindex="0" { (text(message, "body")) } }
                                td {
                                    @if !is_read_only {
                                        (replay_form(Some(&text(message, "messageId")), 1))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn replay_form(id: Option<&str>, count: usize) -> Markup {
    html! {
        details .action {
            summary .button { @if id.is_some() { "Replay…" } @else { "Replay all…" } }
            form method="post" action="/dead-letters/replay" {
                p {
                    @if id.is_some() { "This message returns" }
                    @else { "These messages (" (count) "), and any that arrived since, return" }
                    " to the request queue."
                }
                @if let Some(id) = id { input type="hidden" name="id" value=(id); }
                button { "Replay now" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn message_of_a_stranger_stays_text_and_read_only_offers_nothing() {
        let messages = [
            json!({"messageId": "\"><b>", "body": "<script>alert(1)</script>", "sentAt": "", "problem": "not JSON: <i>"}),
        ];
        for is_read_only in [false, true] {
            let html = table(&messages, is_read_only).into_string();
            assert!(
                !html.contains("<script") && !html.contains("<i>") && !html.contains("<b>"),
                "{html}"
            );
            assert_eq!(html.contains("<form"), !is_read_only);
        }
    }
}
