//! Parts of pages that update themselves: the browser polls them, and gets new content only if they have changed.

use super::answer::Answer;
use crate::deployment::Deployment;
use axum::http::HeaderMap;
use maud::{Markup, html};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The header that says which content of a part the browser has; absent on the first visit.
const SEEN: &str = "x-seen";

/// A part of a page.
#[derive(Debug)]
pub struct Region<'a> {
    pub id: &'a str,
    /// The URL at which the browser polls it; `None` if it will not change any more.
    pub url: Option<&'a str>,
    pub content: Markup,
}

impl Region<'_> {
    /// The part as embedded in a page.
    pub fn markup(&self, deployment: &Deployment) -> Markup {
        let headers = format!(r#"{{"{SEEN}":"{}"}}"#, self.digest());
        // ListExecutions allows 5 calls per second in an account and region.
        let trigger = if deployment.is_local {
            "every 1s"
        } else {
            "every 4s"
        };
        html! {
            section #(self.id) hx-get=[self.url] hx-trigger=[self.url.and(Some(trigger))]
                hx-swap=[self.url.and(Some("outerHTML"))] hx-headers=[self.url.and(Some(headers))] {
                (self.content)
            }
        }
    }

    /// The answer when the browser polls; `None` on the first visit.
    pub fn again(&self, headers: &HeaderMap, deployment: &Deployment) -> Option<Answer> {
        let seen = headers.get(SEEN)?;
        if seen.as_bytes() == self.digest().as_bytes() {
            return Some(Answer::Same);
        }
        Some(Answer::Page(self.markup(deployment)))
    }

    fn digest(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (self.url, &self.content.0).hash(&mut hasher);
        format!("{:x}", hasher.finish())
    }
}
