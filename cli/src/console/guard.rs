//! Who may access the console: a browser on this machine that was given the first URL.
//!
//! `Host` is checked because a foreign page could resolve its own name to this machine (DNS rebinding), `Origin`
//! because a foreign page could send forms here. The token of the first URL becomes a cookie, so it does not stay in
//! the address bar.

use crate::failure::Failure;
use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use std::fmt::Write;

/// The secrets and origins that are checked.
#[derive(Debug)]
pub struct Guard {
    port: u16,
    token: String,
    session: String,
    policy: HeaderValue,
}

/// What to do with a request.
#[derive(Debug, PartialEq)]
enum Verdict {
    Passes,
    /// It has the token, and gets the cookie.
    Enters,
    Refused(StatusCode, &'static str),
}

impl Guard {
    /// A guard for the console on a port, whose pages may show media from the origin `media`.
    ///
    /// # Errors
    /// If this machine has no source of random numbers.
    pub fn new(port: u16, media: &str) -> Result<Self, Failure> {
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' {media}; \
             media-src 'self' {media}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        Ok(Self {
            port,
            token: secret()?,
            session: secret()?,
            policy: HeaderValue::try_from(policy)
                .map_err(|error| Failure::new(format!("{media}: {error}")))?,
        })
    }

    /// The first URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    /// The answer to a request that does not pass: the cookie if it has the token, otherwise a refusal.
    pub fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        match self.judge(method, uri, headers) {
            Verdict::Passes => None,
            Verdict::Refused(status, why) => Some((status, why).into_response()),
            Verdict::Enters => {
                let (name, session) = (self.cookie_name(), &self.session);
                let cookie = format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict");
                let to_clips = Redirect::to("/");
                Some(([(header::SET_COOKIE, cookie)], to_clips).into_response())
            }
        }
    }

    fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        let Some(host) = text(header::HOST).filter(|host| hosts.iter().any(|one| one == host))
        else {
            return Verdict::Refused(StatusCode::FORBIDDEN, "the console has another host");
        };
        let is_own = |origin: &str| origin.strip_prefix("http://") == Some(host);
        let reads = [Method::GET, Method::HEAD].contains(method);
        if !headers
            .get(header::ORIGIN)
            .map_or(reads, |origin| origin.to_str().is_ok_and(is_own))
        {
            return Verdict::Refused(StatusCode::FORBIDDEN, "another page sent this");
        }
        let token = uri.query().and_then(|query| query.strip_prefix("token="));
        if reads && uri.path() == "/" && token.is_some_and(|token| same(token, &self.token)) {
            return Verdict::Enters;
        }
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut cookies = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='));
        if cookies.any(|(name, value)| name == self.cookie_name() && same(value, &self.session)) {
            return Verdict::Passes;
        }
        let why = "Open the URL that `clipflow console` printed.";
        Verdict::Refused(StatusCode::UNAUTHORIZED, why)
    }

    /// Cookies are the same on all ports, so each port has its own.
    fn cookie_name(&self) -> String {
        format!("clipflow-{}", self.port)
    }

    /// Adds the headers that make the browser enforce the policy.
    pub fn secure(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // With no-referrer, browsers would send `Origin: null` with forms.
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
}

/// 32 random bytes, in hexadecimal.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("random numbers: {error}")))?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes it");
    }
    Ok(text)
}

/// Whether two texts are equal, in constant time.
fn same(one: &str, other: &str) -> bool {
    let differences = one
        .bytes()
        .zip(other.bytes())
        .map(|(one, other)| one ^ other);
    one.len() == other.len() && differences.fold(0, |all, one| all | one) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 8017;

    /// The verdict on a request with these headers.
    fn verdict(guard: &Guard, method: &Method, path: &str, headers: &[(&str, &str)]) -> Verdict {
        let uri: Uri = path.parse().expect("a path");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, value.parse().expect("a value"));
        }
        guard.judge(method, &uri, &map)
    }

    #[test]
    fn browser_enters_by_the_token_and_passes_by_the_cookie() {
        let guard = Guard::new(PORT, "http://127.0.0.1:4566").expect("random numbers");
        let host = ("host", "127.0.0.1:8017");
        let url = guard.url();
        let path = url.strip_prefix("http://127.0.0.1:8017").expect("the URL");
        assert_eq!(
            verdict(&guard, &Method::GET, path, &[host]),
            Verdict::Enters
        );
        let cookie = format!("a=b; clipflow-8017={}", guard.session);
        let cookie = ("cookie", cookie.as_str());
        assert_eq!(
            verdict(&guard, &Method::GET, "/", &[host, cookie]),
            Verdict::Passes
        );
        let origin = ("origin", "http://127.0.0.1:8017");
        let post = [host, cookie, origin];
        assert_eq!(verdict(&guard, &Method::POST, "/", &post), Verdict::Passes);
    }

    #[test]
    fn request_without_a_secret_or_from_elsewhere_is_refused() {
        let guard = Guard::new(PORT, "http://127.0.0.1:4566").expect("random numbers");
        let host = ("host", "127.0.0.1:8017");
        let cookie = format!("clipflow-8017={}", guard.session);
        let cookie = ("cookie", cookie.as_str());
        let of_other_port = format!("clipflow-8018={}", guard.session);
        let wrong = format!("/?token={}", guard.session);
        for (method, path, headers) in [
            (Method::GET, "/", &[host][..]),
            (Method::GET, &wrong, &[host]),
            (Method::GET, "/", &[host, ("cookie", "clipflow-8017=")]),
            (Method::GET, "/", &[host, ("cookie", &of_other_port)]),
            (Method::GET, "/", &[cookie]),
            (
                Method::GET,
                "/",
                &[("host", "rebound.example:8017"), cookie],
            ),
            (Method::GET, "/", &[("host", "127.0.0.1:80"), cookie]),
            (
                Method::GET,
                "/",
                &[host, cookie, ("origin", "https://evil.example")],
            ),
            (Method::POST, "/", &[host, cookie]),
            (Method::POST, "/", &[host, cookie, ("origin", "null")]),
            (
                Method::POST,
                "/",
                &[host, cookie, ("origin", "http://127.0.0.1:80")],
            ),
        ] {
            let verdict = verdict(&guard, &method, path, headers);
            assert!(
                matches!(verdict, Verdict::Refused(..)),
                "{path} {headers:?}"
            );
        }
    }
}
