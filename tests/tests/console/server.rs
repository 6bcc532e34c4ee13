//! A running console and its answers.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tests::Stack;
use ureq::{
    Agent,
    http::{Request, Response},
};

/// `clipflow console`, ended on drop.
pub struct Console {
    child: Child,
    /// The URL that gives a browser access.
    pub url: String,
    /// The origin of the pages, without a trailing `/`.
    pub origin: String,
    agent: Agent,
}

/// A response of the console.
pub struct Answer {
    pub status: u16,
    pub body: String,
    response: Response<()>,
}

impl Answer {
    /// The value of a header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Console {
    /// Starts the console for the deployment in a `stack.json`.
    pub fn start(stack: &Stack, stack_json: Option<&Path>, options: &[&str]) -> Self {
        let mut command = Command::new(&stack.description.clipflow);
        if let Some(file) = stack_json {
            command.env("CLIPFLOW_STACK", file);
        }
        let child = command
            .args(["console", "--local"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("the command starts");
        let mut url = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().expect("its output"));
        lines.read_line(&mut url).expect("a line");
        let url = url.trim().to_owned();
        let (origin, _) = url.split_once("/?").expect("the first URL");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The server may close a connection that it has not read a request's body from.
            .max_idle_connections(0)
            .max_redirects(0);
        Self {
            child,
            origin: origin.to_owned(),
            url,
            agent: config.build().into(),
        }
    }

    /// Its response to a request with these headers.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, path, headers, "how=redrive")
    }

    /// Its response to a form sent by one of its pages.
    pub fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let headers = [
            ("cookie", cookie),
            ("origin", &self.origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send("POST", path, &headers, form)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let response = self.agent.run(request).expect("an answer");
        let (parts, mut body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            body: body.read_to_string().expect("text"),
            response: Response::from_parts(parts, ()),
        }
    }

    /// The cookie set by the first URL.
    pub fn cookie(&self) -> String {
        let path = self.url.strip_prefix(&self.origin).expect("its own URL");
        let answer = self.ask("GET", path, &[]);
        assert_eq!((answer.status, answer.header("location")), (303, "/"));
        let cookie = answer.header("set-cookie");
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        cookie.split(';').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
