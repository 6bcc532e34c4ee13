//! Hostile requests, as sent to the queue.

use serde_json::{Value, json};

/// The longest message that SQS accepts, in bytes (developer guide, "Amazon SQS message quotas").
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What is wrong with it.
    pub name: String,
    /// The message's body.
    pub body: String,
    /// Whether it is JSON, so that an outcome can be reported.
    pub is_json: bool,
}

/// All requests. Each that names its clip has a unique name with `prefix`. Those that name an object name `key` in
/// `bucket`.
#[must_use]
pub fn all(prefix: &str, bucket: &str, key: &str) -> Vec<Hostile> {
    let source = json!({"bucket": bucket, "key": key});
    let good = json!({"source": source, "start": 0.2, "end": 0.6, "output": {"thumbnails": []}});
    let bodies = [
        of_depth(),
        of_size(),
        of_numbers(),
        of_characters(),
        of_types(),
        of_names(),
        of_places(bucket),
        of_times(),
        of_cameras(),
    ]
    .concat();
    let mut requests = Vec::new();
    for (number, (name, change)) in bodies.into_iter().enumerate() {
        let mut request = good.clone();
        request["clipId"] = json!(format!("{prefix}-{number}"));
        requests.push(Hostile {
            body: change.apply(request),
            name,
            is_json: true,
        });
    }
    for (number, (name, body)) in no_json().into_iter().enumerate() {
        let clip_id = format!("{prefix}-no-json-{number}");
        requests.push(Hostile {
            name: format!("no JSON: {name}"),
            body: body.replace("CLIP", &clip_id),
            is_json: false,
        });
    }
    requests
}

/// How a good request is changed.
#[derive(Clone)]
enum Change {
    /// A field is set; `/` leads into objects.
    Field(&'static str, Value),
    /// Text is inserted verbatim as the request's last member.
    Member(String),
    /// The request is replaced. `CLIP` in it stands for the clip's name.
    Other(String),
}

type Named = (String, Change);

impl Change {
    fn apply(self, mut request: Value) -> String {
        match self {
            Self::Field(path, value) => {
                let mut place = &mut request;
                for name in path.split('/') {
                    place = &mut place[name];
                }
                *place = value;
                request.to_string()
            }
            Self::Member(member) => {
                let text = request.to_string();
                format!("{},{member}}}", &text[..text.len() - 1])
            }
            Self::Other(body) => {
                body.replace("CLIP", request["clipId"].as_str().unwrap_or_default())
            }
        }
    }
}

fn field(name: &str, path: &'static str, value: impl Into<Value>) -> Named {
    (name.to_owned(), Change::Field(path, value.into()))
}

fn member(name: &str, member: impl Into<String>) -> Named {
    (name.to_owned(), Change::Member(member.into()))
}

fn other(name: &str, body: impl Into<String>) -> Named {
    (name.to_owned(), Change::Other(body.into()))
}

fn of_depth() -> Vec<Named> {
    let nested = |depth: usize| {
        let name = format!("nested {depth} deep");
        (
            name,
            Change::Member(format!(
                r#""metadata":{{"x":{}{}}}"#,
                "[".repeat(depth - 2),
                "]".repeat(depth - 2)
            )),
        )
    };
    let mut all: Vec<_> = [64, 65, 100, 125, 127, 128, 129, 1000, 100_000]
        .map(nested)
        .into();
    all.push(member(
        "objects nested 50,000 deep",
        format!(
            r#""x":{}1{}"#,
            r#"{"a":"#.repeat(50_000),
            "}".repeat(50_000)
        ),
    ));
    all
}

fn of_size() -> Vec<Named> {
    let sized = |bytes: usize| {
        let name = format!("{bytes} bytes of metadata");
        (
            name,
            Change::Field("metadata", json!({"x": "x".repeat(bytes)})),
        )
    };
    let mut all: Vec<_> = [
        8193,
        65_536,
        262_144,
        262_145,
        524_288,
        MAX_MESSAGE_BYTES - 300,
    ]
    .map(sized)
    .into();
    let many: serde_json::Map<_, _> = (0..20_000)
        .map(|number| (format!("k{number}"), json!(number)))
        .collect();
    let same = json!({"source": {"bucket": "b", "key": "k"}, "start": 0, "end": 1});
    all.extend([
        field("20,000 fields of metadata", "metadata", many),
        field("10,000 segments", "segments", vec![same.clone(); 10_000]),
        field("51 segments", "segments", vec![same; 51]),
        field("100,000 thumbnails", "output/thumbnails", vec![1; 100_000]),
        member(
            "a name of 300,000 characters",
            format!(r#""{}":1"#, "a".repeat(300_000)),
        ),
        member(
            "escapes of 500 kB",
            format!(r#""metadata":{{"x":"{}"}}"#, "\\u0041".repeat(80_000)),
        ),
    ]);
    all
}

fn of_numbers() -> Vec<Named> {
    let number = |text: &str| member(&format!("starts at {text}"), format!(r#""start":{text}"#));
    let mut all: Vec<_> = [
        "1e400",
        "-1e400",
        "1e-400",
        "1e308",
        "-0",
        "-1",
        "9999999999999999999",
        "18446744073709551616",
        "0.1e1000000",
        "1.7976931348623157e309",
    ]
    .map(number)
    .into();
    all.push(member(
        "a number of 200,000 digits",
        format!(r#""maxCostUsd":{}"#, "9".repeat(200_000)),
    ));
    all.extend([
        field("costs nothing", "maxCostUsd", 0),
        field("costs less than nothing", "maxCostUsd", -1e300),
        field(
            "a thumbnail of 4 billion pixels",
            "output/thumbnails",
            vec![u32::MAX],
        ),
        field(
            "a size of 4 billion pixels",
            "edits",
            json!({"resize": {"width": 4_294_967_295_u32, "height": 2}}),
        ),
        field("a speed of 1e-300", "edits", json!({"speed": 1e-300})),
    ]);
    all
}

fn of_characters() -> Vec<Named> {
    let escaped = |name: &str, text: &str| member(name, format!(r#""metadata":{{"x":"{text}"}}"#));
    vec![
        escaped("a lone high surrogate", r"\ud800"),
        escaped("a lone low surrogate", r"\udc00"),
        escaped("surrogates in the wrong order", r"\udc00\ud800"),
        escaped("NUL", r"\u0000"),
        escaped("escape sequences", r"\u001b]0;owned\u0007\u001b[2J"),
        escaped("text from right to left", "\u{202e}gpj.exe\u{2066}"),
        escaped("no width", "\u{200b}\u{feff}\u{2060}"),
        escaped(
            "a hundred marks on a letter",
            &format!("a{}", "\u{301}".repeat(100)),
        ),
        escaped("the last character", "\u{10ffff}\u{fffe}\u{ffff}"),
        field("a name of two lines", "clipId", "a\nb"),
        field("a name with NUL", "clipId", "a\0b"),
        field("a name of no characters", "clipId", ""),
        field("a name of 61 characters", "clipId", "a".repeat(61)),
        field("a name of emoji", "clipId", "🏄"),
        field("a name from right to left", "clipId", "\u{202e}abc"),
        field("a name that leads up", "clipId", "../../x"),
        member("a member with a lone surrogate", r#""\ud800":1"#),
    ]
}

fn of_types() -> Vec<Named> {
    let mut all: Vec<_> = [
        "null",
        "true",
        "0",
        r#""CLIP""#,
        "[]",
        "{}",
        r#"[{"clipId":"CLIP"}]"#,
    ]
    .map(|body| other(&format!("the request is {body}"), body))
    .into();
    all.extend([
        field("the name is a number", "clipId", 1),
        field("the name is null", "clipId", Value::Null),
        field("the source is text", "source", "s3://b/k"),
        field("the source is an array", "source", json!(["b", "k"])),
        field("the key is a number", "source/key", 7),
        field("the start is an object", "start", json!({"$gt": ""})),
        field("the start is true", "start", true),
        field("the end is null", "end", Value::Null),
        field("segments are an object", "segments", json!({"0": {}})),
        field("there are no segments", "segments", json!([])),
        field("the output is an array", "output", json!([])),
        field("the edits are text", "edits", "speed=2"),
        field("metadata are an array", "metadata", json!([1])),
        field("the cut is no cut", "cut", "exact\0"),
    ]);
    all
}

fn of_names() -> Vec<Named> {
    vec![
        field("__proto__", "__proto__", json!({"admin": true})),
        field(
            "$where",
            "metadata",
            json!({"$where": "sleep(1000)", "a.b": 1, "$set": {"status": "available"}}),
        ),
        field("an unknown member", "endd", 1),
        field("an unknown member within", "source/versionId", "x"),
        member("the same member twice", r#""start":0.1,"start":0.3"#),
        member("the clip's name twice", r#""clipId":"another""#),
        member("the same member, escaped", r#""st\u0061rt":0.1"#),
        other(
            "what stands in for a request",
            r#"{"clipId":"CLIP","unreadable":{"why":"\u001b[31mx","bytes":1,"sha256":"0"}}"#,
        ),
        other(
            "what stands in for a request, and more",
            r#"{"clipId":"CLIP","unreadable":{"why":"x","bytes":-1}}"#,
        ),
        field(
            "an expression",
            "metadata",
            json!({"x": "{% $states.input %}", "y.$": "$.execution", "z": "${jndi:ldap://x}"}),
        ),
    ]
}

fn of_places(bucket: &str) -> Vec<Named> {
    let key = |key: &str| field(&format!("the key {key:?}"), "source/key", key);
    let in_bucket = |name: &str| field(&format!("the bucket {name:?}"), "source/bucket", name);
    let mut all: Vec<_> = [
        "",
        "/",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "a?versionId=1",
        "a#b",
        "%2e%2e%2f",
        "a\r\nHost: x",
        "clips/\u{202e}",
        "{% $states.input %}",
    ]
    .map(key)
    .into();
    all.push(field(
        "a key of 1,025 bytes",
        "source/key",
        "k".repeat(1025),
    ));
    all.extend(
        [
            "",
            "..",
            "Another",
            "arn:aws:s3:::another",
            "another/../x",
            "169.254.169.254",
        ]
        .map(in_bucket),
    );
    all.push(in_bucket(&format!("{bucket}\0")));
    all.push(field(
        "a watermark elsewhere",
        "edits",
        json!({"watermark": {"bucket": "another", "key": "a.png"}}),
    ));
    all.push(field(
        "a watermark that is none",
        "edits",
        json!({"watermark": {"key": "../../x"}}),
    ));
    all
}

fn of_times() -> Vec<Named> {
    vec![
        field("ends before it starts", "end", 0.1),
        field("ends when it starts", "end", 0.2),
        field("starts at 99:99:99", "start", "99:99:99"),
        field("starts at NaN", "start", "NaN"),
        field("starts at infinity", "start", "inf"),
        field("starts at 0x10", "start", "0x10"),
        field("ends at 101%", "end", "101%"),
        field("ends at -1%", "end", "-1%"),
        field("ends in a thousand hours", "end", 3_600_000),
        field(
            "ends in a text of 100,000 digits",
            "end",
            "1".repeat(100_000),
        ),
    ]
}

fn of_cameras() -> Vec<Named> {
    let camera = |id: &str, start: &str, end: &str| {
        format!(
            r#"{{"clipId":"CLIP","cameraId":{id},"startTimestampInMs":{start},"endTimestampInMs":{end}}}"#
        )
    };
    vec![
        other(
            "a camera that leads up",
            camera(r#""../../x""#, "1", "2000"),
        ),
        other(
            "a camera of an expression",
            camera(r#""{start:%s}""#, "1", "2000"),
        ),
        other(
            "a window at the end of time",
            camera(r#""a""#, "9223372036854775806", "9223372036854775807"),
        ),
        other(
            "a window before time",
            camera(r#""a""#, "-9223372036854775808", "2000"),
        ),
        other(
            "a window of all time",
            camera(r#""a""#, "0", "9223372036854775807"),
        ),
    ]
}

/// Bodies that are not JSON and name no clip.
fn no_json() -> Vec<(&'static str, String)> {
    let whole = r#"{"clipId":"CLIP","start":1}"#;
    vec![
        ("blank", " ".to_owned()),
        ("a brace", "{".to_owned()),
        ("cut short", whole[..20].to_owned()),
        ("more behind it", format!("{whole}{whole}")),
        ("a mark of order in front", format!("\u{feff}{whole}")),
        ("single quotes", whole.replace('"', "'")),
        ("a comment", format!("{whole} // x")),
        ("NaN", r#"{"clipId":"CLIP","start":NaN}"#.to_owned()),
        ("XML", "<clipId>CLIP</clipId>".to_owned()),
    ]
}
