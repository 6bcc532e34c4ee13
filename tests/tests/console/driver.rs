//! A headless Chromium, driven by chromedriver over HTTP (W3C WebDriver).

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use ureq::Agent;

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_mins(2);

/// A browser, closed on drop.
pub struct Browser {
    child: Child,
    agent: Agent,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens the browser, if the environment names one.
    pub fn open() -> Option<Self> {
        let Ok(driver) = std::env::var("CLIPFLOW_CHROMEDRIVER") else {
            eprintln!("CLIPFLOW_CHROMEDRIVER is not set: no page is shown in a browser");
            return None;
        };
        let child = Command::new(&driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{driver}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once("successfully on port ")?.1.parse().ok())
            .map(|port: String| port.trim_end_matches('.').to_owned())
            .expect("chromedriver says its port");
        // It blocks unless its output is read.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().expect("a folder");
        let config = Agent::config_builder().http_status_as_error(false);
        let mut browser = Self {
            child,
            agent: config.build().into(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let program = std::env::var("CLIPFLOW_CHROMIUM").expect("CLIPFLOW_CHROMIUM is set as well");
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let chrome = json!({"binary": on_path(&program), "args": ["--headless=new", "--no-sandbox", "--disable-gpu",
            "--mute-audio", "--no-first-run", "--autoplay-policy=no-user-gesture-required", profile]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL"}}}});
        let created = browser.call("", &wanted);
        let id = created["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn call(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let sent = self.agent.post(&url).send(body.to_string());
        let mut answer = sent.unwrap_or_else(|error| panic!("{command}: {error}"));
        let text = answer.body_mut().read_to_string().expect("text");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            answer["value"]["error"].is_null(),
            "{command} {body}: {text}"
        );
        answer["value"].take()
    }

    /// Goes to a page.
    pub fn visit(&self, url: &str) {
        self.call("/url", &json!({"url": url}));
    }

    /// What a script returns.
    pub fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The result of a script's promise.
    pub fn promise(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (error) => done(String(error)))"
        );
        self.call("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true.
    pub fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.run(&format!("return Boolean({expression})")) != true {
            let text = || self.run("return document.body.innerText");
            assert!(begun.elapsed() < PATIENCE, "{expression}: {}", text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks the element of a selector like a person: it must exist and be in view.
    pub fn click(&self, selector: &str) {
        let found = self.call(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let id = found
            .as_object()
            .and_then(|found| found.values().next()?.as_str());
        self.call(
            &format!("/element/{}/click", id.expect("an element")),
            &json!({}),
        );
    }

    /// Sets the size of the page, and a light or dark colour scheme.
    pub fn look(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// Saves a screenshot of the page in `target/browser/`.
    pub fn picture(&self, name: &str) {
        let folder = folder();
        let png = self.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        let data = png["data"].as_str().expect("a picture");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
        std::fs::write(file, decoded(data)).expect("a file");
    }

    /// The browser's complaints since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().into_iter().flatten();
        let bad = entries.filter(|entry| {
            ["SEVERE", "WARNING"]
                .iter()
                .any(|bad| entry["level"] == *bad)
        });
        bad.map(|entry| entry["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The absolute path of a program on the `PATH`: chromedriver accepts nothing else.
fn on_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
        .unwrap_or_else(|| program.into())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/browser")
}

/// Decodes Base64 (RFC 4648).
fn decoded(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b'=').collect();
    let group = |digits: &[u8]| {
        let bits = digits.iter().enumerate();
        let bits = bits.fold(0_u32, |all, (at, digit)| {
            all | u32::from(value(*digit)) << (18 - 6 * at)
        });
        bits.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
