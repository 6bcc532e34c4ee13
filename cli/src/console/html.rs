//! The frame of every page, and elements that several pages share.
//!
//! Clip ids, metadata and messages are untrusted. `maud` escapes all text, and nothing here exempts text from that.

use crate::{executions::Status, when};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use time::OffsetDateTime;

/// Characters that need no escaping in a part of a URL.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// The htmx settings for the pages' policy: it evaluates no text as code and adds no styles.
const HTMX: &str = r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,
"historyCacheSize":0,"selfRequestsOnly":true}"#;

/// What every page shows about the console.
#[derive(Debug)]
pub struct Frame {
    /// The state machine's name.
    pub deployment: String,
    pub is_local: bool,
    pub is_read_only: bool,
}

/// The pages that every page links to: paths and names.
const TABS: [(&str, &str); 3] = [
    ("/", "Clips"),
    ("/overview", "Overview"),
    ("/dead-letters", "Dead letters"),
];

/// A page under the tab of this path.
pub fn page(frame: &Frame, title: &str, tab: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head(title))
                meta name="htmx-config" content=(HTMX);
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/htmx.min.js" defer {}
                script src="/assets/console.js" defer {}
            }
            body {
                a .skip href="#main" { "Skip to content" }
                header .top {
                    a .brand href="/" { "clipflow" }
                    nav aria-label="Pages" {
                        @for (path, name) in TABS {
                            a href=(path) aria-current=[(path == tab).then_some("page")] { (name) }
                        }
                    }
                    p .deployment {
                        span .name { (frame.deployment) }
                        @if frame.is_local { span .chip { "local stack" } }
                        @if frame.is_read_only { span .chip { "read-only" } }
                    }
                }
                main #main { (content) }
            }
        }
    }
}

/// The head of every document.
pub fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " · clipflow" }
    }
}

/// A status, in words, with a symbol and in its colour.
pub fn status(status: Status) -> Markup {
    let mark = match status {
        Status::Running => "…",
        Status::Available => "✓",
        Status::Rejected => "⊘",
        Status::Failed => "✗",
        Status::Aborted => "■",
    };
    html! {
        span class={ "status " (status.name()) } {
            span .mark aria-hidden="true" { (mark) } (status.name())
        }
    }
}

/// How long ago a moment was.
pub fn ago(at: OffsetDateTime, now: OffsetDateTime) -> Markup {
    let title = format!("{} UTC", when::moment(at));
    html! {
        time datetime=(when::rfc3339(at)) title=(title) { (when::age((now - at).as_seconds_f64())) }
    }
}

/// The head of a table. A column without a name gets a label for screen readers.
pub fn head_of_table(columns: &[&str]) -> Markup {
    html! {
        thead {
            tr {
                @for name in columns {
                    th scope="col" {
                        @if name.is_empty() { span .hidden { "What" } } @else { (name) }
                    }
                }
            }
        }
    }
}

/// Collapsible JSON; `id` remembers whether it is open.
pub fn json(id: &str, title: &str, value: &Value) -> Markup {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    html! {
        details #(id) .json {
            summary { (title) }
            pre tabindex="0" { (text) }
        }
    }
}

/// A part of a URL.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

/// The path of an execution's page.
pub fn clip_path(name: &str) -> String {
    format!("/clips/{}", encoded(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_a_url_ends_no_part_of_it() {
        assert_eq!(clip_path("a/b?c#d\"é"), "/clips/a%2Fb%3Fc%23d%22%C3%A9");
        assert_eq!(clip_path("a-b_c.d~1"), "/clips/a-b_c.d~1");
    }
}
