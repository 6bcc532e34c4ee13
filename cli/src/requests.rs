//! Requests as people write them: JSON, one or many, and CSV.

use model::{
    ClipError,
    identity::Identity,
    request::{Format, Limits, Request},
};
use serde_json::{Map, Value};

/// Columns of a CSV file whose cells are text even where they look like a number.
const TEXT_COLUMNS: [&str; 5] = ["clipId", "cameraId", "source.bucket", "source.key", "cut"];

/// A request and the line where it begins, or what is wrong with that line.
pub type Line = (usize, Result<Value, String>);

/// The values of a text that is JSON, one after the other: one request, or one a line.
pub fn read_json(text: &str) -> Vec<Line> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut lines = Vec::new();
    loop {
        let before = &text[..values.byte_offset()];
        let rest = &text[before.len()..];
        let blank = &rest[..rest.len() - rest.trim_start().len()];
        let line = 1 + before.matches('\n').count() + blank.matches('\n').count();
        match values.next() {
            None => return lines,
            Some(Ok(value)) => lines.push((line, Ok(value))),
            Some(Err(error)) => {
                lines.push((
                    error.line(),
                    Err(format!("column {}: {error}", error.column())),
                ));
                return lines;
            }
        }
    }
}

/// The rows of a CSV file whose header names fields, with a dot between a field and a field in it: `clipId`,
/// `source.key`, `metadata.spot`. A column `source` is a URI. Empty cells are fields left out.
pub fn read_csv(text: &str) -> Vec<Line> {
    let mut reader = csv::ReaderBuilder::new()
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
            serde_json::from_str(cell).unwrap_or_else(|_| cell.into())
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

/// `s3://bucket/key`, as a request has it.
pub fn source(uri: &str) -> Result<Value, String> {
    let parts = uri
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    let (bucket, key) = parts.ok_or_else(|| format!("{uri:?} is not s3://bucket/key"))?;
    Ok(serde_json::json!({"bucket": bucket, "key": key}))
}

/// Checks a request as the deployment will, and says which clip it names. Where the deployment's source buckets are not
/// known, any bucket passes.
///
/// # Errors
/// As `validate`'s: naming the field.
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
    fn line_that_is_not_json_is_named() {
        let lines = read_json("{}\n{\"start\": }\n{}");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].0, 2);
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
