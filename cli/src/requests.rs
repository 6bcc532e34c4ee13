//! Requests as people write them: JSON, one or many, and CSV.

use model::{
    ClipError,
    identity::Identity,
    request::{Format, Limits, Request},
};
use serde_json::{Map, Value};

/// Columns of a CSV file whose cells are text even if they look like numbers.
const TEXT_COLUMNS: [&str; 5] = ["clipId", "cameraId", "source.bucket", "source.key", "cut"];

/// Columns whose fields are lists; a cell may hold one value.
const LIST_COLUMNS: [&str; 1] = ["output.thumbnails"];

/// A request and the line where it begins, or what is wrong with that line.
pub type Line = (usize, Result<Value, String>);

/// The text of a file: UTF-8, or UTF-16 with a byte-order mark, as spreadsheets write it.
///
/// # Errors
/// What it is instead, and what to do about it.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    const REMEDY: &str = "save it as UTF-8";
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks();
        let text: Result<String, _> =
            char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect();
        match text {
            Ok(text) if rest.is_empty() => Ok(text),
            _ => Err(format!("is damaged UTF-16; {REMEDY}")),
        }
    };
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => decode(text),
        [0xff, 0xfe, text @ ..] => utf_16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf_16(text, u16::from_be_bytes),
        [0, _, ..] | [_, 0, ..] => Err(format!(
            "is UTF-16 or UTF-32 without a byte-order mark; {REMEDY}"
        )),
        _ => match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let at = error.valid_up_to();
                let line = bytes[..at].split(|byte| *byte == b'\n').count();
                Err(format!(
                    "is not UTF-8 (byte 0x{:02x} in line {line}); {REMEDY}",
                    bytes[at]
                ))
            }
        },
    }
}

/// The JSON values in a text, in order: one request, or one per line. Reading continues after a line that is not a
/// value on its own, and ends at an invalid value that spans several lines.
pub fn read_json(text: &str) -> Vec<Line> {
    let (mut lines, mut from, mut before) = (Vec::new(), text, 0);
    loop {
        let mut values = serde_json::Deserializer::from_str(from).into_iter::<Value>();
        let (begun, error) = loop {
            let read = &from[..values.byte_offset()];
            let rest = &from[read.len()..];
            let blank = &rest[..rest.len() - rest.trim_start().len()];
            let begun = 1 + read.matches('\n').count() + blank.matches('\n').count();
            match values.next() {
                None => return lines,
                Some(Ok(value)) => lines.push((before + begun, Ok(value))),
                Some(Err(error)) => break (begun, error),
            }
        };
        let said = error.to_string().replace(
            &format!("line {} column", error.line()),
            &format!("line {} column", before + error.line()),
        );
        let column = error.column();
        lines.push((
            before + error.line(),
            Err(format!("column {column}: {said}")),
        ));
        let behind = from.match_indices('\n').nth(error.line().saturating_sub(1));
        let Some((end, _)) = behind.filter(|_| error.line() == begun) else {
            return lines;
        };
        before += error.line();
        from = &from[end + 1..];
    }
}

/// The rows of a CSV file whose header names fields, with dots for nested fields: `clipId`, `source.key`,
/// `metadata.spot`. A column `source` is a URI. Empty cells are omitted fields.
pub fn read_csv(text: &str) -> Vec<Line> {
    // With CRLF line ends, the reader attributes a row to the previous line.
    let text = &text.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return vec![(1, Err(error.to_string()))],
    };
    let row = |record: Result<csv::StringRecord, csv::Error>| match record {
        Ok(record) => {
            let line = record.position().map_or(0, csv::Position::line);
            (
                usize::try_from(line).unwrap_or(usize::MAX),
                request_of_row(&headers, &record),
            )
        }
        Err(error) => (
            usize::try_from(error.position().map_or(0, csv::Position::line)).unwrap_or(0),
            Err(error.to_string()),
        ),
    };
    reader.records().map(row).collect()
}

/// The delimiter between cells: a semicolon if the header has some and no commas, as spreadsheets write it in many
/// countries.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    if header.contains(';') && !header.contains(',') {
        b';'
    } else {
        b','
    }
}

fn request_of_row(
    headers: &csv::StringRecord,
    record: &csv::StringRecord,
) -> Result<Value, String> {
    let mut request = Map::new();
    for (column, cell) in headers
        .iter()
        .zip(record)
        .filter(|(_, cell)| !cell.is_empty())
    {
        let value = if column == "source" {
            source(cell).map_err(|error| format!("source: {error}"))?
        } else if TEXT_COLUMNS.contains(&column) || column.starts_with("metadata.") {
            cell.into()
        } else {
            let value = serde_json::from_str(cell).unwrap_or_else(|_| cell.into());
            match value {
                Value::Number(_) if LIST_COLUMNS.contains(&column) => vec![value].into(),
                _ => value,
            }
        };
        let (parents, field) = column
            .rsplit_once('.')
            .map_or((None, column), |(parents, field)| (Some(parents), field));
        let mut object = &mut request;
        for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
            let inner = object.entry(parent).or_insert_with(|| Map::new().into());
            object = inner
                .as_object_mut()
                .ok_or_else(|| format!("{column}: {parent} has a column of its own"))?;
        }
        object.insert(field.to_owned(), value);
    }
    Ok(request.into())
}

/// `s3://bucket/key`, as written in a request.
pub fn source(uri: &str) -> Result<Value, String> {
    let parts = uri
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    let (bucket, key) = parts.ok_or_else(|| format!("{uri:?} is not s3://bucket/key"))?;
    Ok(serde_json::json!({"bucket": bucket, "key": key}))
}

/// Checks a request like the deployment will, and returns its identity. If the deployment's source buckets are unknown,
/// any bucket passes.
///
/// # Errors
/// As for `validate`: naming the field.
pub fn check(request: &Value, source_buckets: Option<&[String]>) -> Result<Identity, ClipError> {
    let source_buckets = source_buckets.map_or_else(|| buckets_in(request), <[String]>::to_vec);
    let limits = Limits {
        source_buckets,
        default_format: Format::default(),
    };
    Request::validate(request.clone(), &limits)?;
    Ok(Identity::of(request))
}

fn buckets_in(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields
                .get("bucket")
                .and_then(Value::as_str)
                .map(str::to_owned);
            fields.values().flat_map(buckets_in).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(buckets_in).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn one_request_over_many_lines_and_many_requests_are_both_read() {
        assert_eq!(
            read_json("{\n\"start\": 1\n}\n"),
            [(1, Ok(json!({"start": 1})))]
        );
        assert_eq!(
            read_json("{}\n\n{\"a\": 1}\n[]"),
            [
                (1, Ok(json!({}))),
                (3, Ok(json!({"a": 1}))),
                (4, Ok(json!([])))
            ]
        );
        assert_eq!(read_json(" \n"), []);
    }

    #[test]
    fn text_of_spreadsheets_is_read_or_refused_by_name() {
        let text = "clipId;start\n\u{e9}a\u{1f3c4};1\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let bytes = |mark: &[u8], of: fn(u16) -> [u8; 2]| {
            let units = units.iter().flat_map(|unit| of(*unit));
            mark.iter().copied().chain(units).collect::<Vec<_>>()
        };
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        let little = bytes(b"\xff\xfe", u16::to_le_bytes);
        for encoded in [
            text.as_bytes(),
            &marked,
            &little,
            &bytes(b"\xfe\xff", u16::to_be_bytes),
        ] {
            assert_eq!(decode(encoded).as_deref(), Ok(text));
        }
        for (encoded, said) in [
            (
                &little[2..],
                "is UTF-16 or UTF-32 without a byte-order mark",
            ),
            (&little[..little.len() - 1], "is damaged UTF-16"),
            (b"\xff\xfe\x00\xd8".as_slice(), "is damaged UTF-16"),
            (b"clipId\nN\xe9e", "is not UTF-8 (byte 0xe9 in line 2)"),
        ] {
            let error = decode(encoded).expect_err("it is no text");
            assert_eq!(error, format!("{said}; save it as UTF-8"));
        }
    }

    #[test]
    fn cells_may_lie_between_semicolons() {
        let lines = read_csv("clipId;start;metadata.spot\na;1,5;\"Pipe; north\"\n");
        let request = json!({"clipId": "a", "start": "1,5", "metadata": {"spot": "Pipe; north"}});
        assert_eq!(lines, [(2, Ok(request))]);
        let lines = read_csv("clipId,metadata.a;b\na,c;d\n");
        assert_eq!(
            lines[0].1,
            Ok(json!({"clipId": "a", "metadata": {"a;b": "c;d"}}))
        );
    }

    #[test]
    fn lines_are_counted_however_they_end() {
        for end in ["\n", "\r\n"] {
            let lines = read_csv(&["clipId", "a", "b", ""].join(end));
            let numbers: Vec<_> = lines.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [2, 3], "{end:?}");
        }
    }

    #[test]
    fn list_in_a_column_may_have_one_value() {
        let lines = read_csv("start,output.thumbnails\n1,64\n2,\"[64, 300]\"\n");
        let lists: Vec<_> = lines
            .iter()
            .map(|(_, request)| {
                request.as_ref().expect("a request")["output"]["thumbnails"].clone()
            })
            .collect();
        assert_eq!(lists, [json!([64]), json!([64, 300])]);
    }

    #[test]
    fn line_that_is_not_json_is_named_and_left_out() {
        let lines = read_json("{}\n{\"start\": }\n{}");
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[1].0, &lines[2]), (2, &(3, Ok(json!({})))));
        assert!(
            lines[1]
                .1
                .as_ref()
                .is_err_and(|error| error.starts_with("column 11: expected value")),
            "{lines:?}"
        );
    }

    #[test]
    fn columns_are_fields() {
        let text = "clipId,source,start,end,output.thumbnails,metadata.spot,metadata.day,maxCostUsd\n\
            42,s3://archive/a/b.mp4,72.5,1:30,\"[300, 640]\",\"Pipe, north\",7,0.25\n\
            b,s3://archive/c.mp4,25%,50%,,,,\n";
        let lines = read_csv(text);
        assert_eq!(
            lines[0],
            (
                2,
                Ok(
                    json!({"clipId": "42", "source": {"bucket": "archive", "key": "a/b.mp4"}, "start": 72.5, "end": "1:30",
                    "output": {"thumbnails": [300, 640]}, "metadata": {"spot": "Pipe, north", "day": "7"}, "maxCostUsd": 0.25})
                )
            )
        );
        let second = lines[1].1.as_ref().expect("a request");
        assert_eq!(
            (lines[1].0, second.as_object().expect("an object").len()),
            (3, 4)
        );
        for (_, request) in lines {
            check(&request.expect("a request"), Some(&["archive".into()])).expect("it is valid");
        }
    }

    #[test]
    fn row_that_cannot_be_a_request_is_named() {
        let lines = read_csv("source,start\nhttp://a/b,1\ns3://a/b,1,2\n");
        assert_eq!(
            lines[0],
            (
                2,
                Err("source: \"http://a/b\" is not s3://bucket/key".into())
            )
        );
        assert!(lines[1].0 == 3 && lines[1].1.is_err(), "{lines:?}");
        let lines = read_csv("source,source.key\ns3://a/b,c\nx,");
        assert_eq!(
            lines[0].1,
            Ok(json!({"source": {"bucket": "a", "key": "c"}}))
        );
    }

    #[test]
    fn buckets_are_checked_where_they_are_known() {
        let request =
            json!({"source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": 2});
        assert_eq!(
            check(&request, None).expect("it is valid").clip_id.len(),
            17
        );
        let error = check(&request, Some(&["other".into()])).expect_err("it is another bucket");
        assert!(error.message.starts_with("source.bucket: "), "{error}");
        assert_eq!(
            check(&json!(7), None).expect_err("no object").message,
            "the request is not a JSON object"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\",:a1\n ]{0,40}") {
            let _ = (read_json(&text), read_csv(&text));
        }
    }
}
