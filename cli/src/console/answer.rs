//! The answers to requests.

use super::html::head;
use crate::failure::Failure;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{DOCTYPE, Markup, html};

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    Page(Markup),
    /// The browser already has it.
    Same,
    /// A redirect.
    To(String),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Page(page) => page.into_response(),
            Self::Same => StatusCode::NO_CONTENT.into_response(),
            Self::To(url) => Redirect::to(&url).into_response(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.code {
            2 => StatusCode::BAD_REQUEST,
            3 => StatusCode::NOT_FOUND,
            4 => StatusCode::CONFLICT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { (head("Problem")) link rel="stylesheet" href="/assets/style.css"; }
                body {
                    main {
                        h1 { "That did not work" }
                        p .problem .failed { (self.message) }
                        p { a href="/" { "All clips" } }
                    }
                }
            }
        };
        (status, page).into_response()
    }
}
