//! Checks the documents against what they describe: links, commands, the request's schema,
//! Terraform and error names.

use hcl::{Body, Expression};
use model::{
    ClipError, ErrorKind,
    request::{ClipRequest, Format, Limits, Request},
};
use regex::Regex;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use tests::markdown::{Page, Row};

/// Folders that contain none of this repository's documents.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".git", ".terraform"];
/// The bucket of the examples.
const BUCKET: &str = "surf-archive";

#[test]
fn links_and_their_anchors_resolve() {
    let pages = pages();
    assert!(pages.len() > 12, "documents are found: {}", pages.len());
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                resolved(&path.parent().expect("a folder").join(file))
            };
            let has_anchor = || {
                pages
                    .get(&target)
                    .is_some_and(|page| page.has_anchor(anchor))
            };
            if !root().join(&target).exists() || !(anchor.is_empty() || has_anchor()) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

#[test]
fn readme_and_architecture_are_short() {
    for (file, max_words) in [("README.md", 1300), ("ARCHITECTURE.md", 3000)] {
        let words = read(file).split_whitespace().count();
        assert!(
            words <= max_words,
            "{file} has {words} words of {max_words}"
        );
    }
}

#[test]
fn commands_in_documents_exist() {
    let targets = names(&read("Makefile"), r"(?m)^([a-z0-9]+):.*##");
    let variants = read("cli/src/main.rs");
    let (_, variants) = variants.split_once("enum Command {").expect("the commands");
    let (variants, _) = variants.split_once("\n}").expect("the end of the commands");
    let mut commands = names(&variants.to_lowercase(), r"(?m)^    ([a-z]+)(?:\(| \{)");
    commands.insert("help".to_owned());
    assert!(
        targets.contains("demo") && commands.contains("cut"),
        "{targets:?} {commands:?}"
    );

    let mut count = 0;
    for (path, page) in pages() {
        let place = path.display();
        let code = page.code.join("\n");
        for name in names(&code, r"(?m)(?:^|[$;&] ?)make ([a-z0-9]+)") {
            assert!(targets.contains(&name), "{place}: there is no make {name}");
            count += 1;
        }
        for name in names(&code, r"\bclipflow ([a-z]+)") {
            assert!(
                commands.contains(&name),
                "{place}: there is no clipflow {name}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "commands are found: {count}");
}

#[test]
fn requests_page_has_every_field_with_its_limits_and_defaults() {
    let schema: Value =
        serde_json::from_str(&read("crates/model/request.schema.json")).expect("the schema");
    let mut fields = BTreeMap::new();
    add_fields(&schema, &schema, "", &mut fields);
    let page = page("docs/requests.md");
    let rows = keyed(page.rows("field"));
    let undocumented: Vec<_> = fields
        .keys()
        .filter(|name| !rows.contains_key(*name))
        .collect();
    assert!(
        undocumented.is_empty(),
        "fields without a row: {undocumented:?}"
    );
    let unknown: Vec<_> = rows
        .keys()
        .filter(|name| !fields.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "rows without a field: {unknown:?}");
    for (name, facts) in &fields {
        let row = rows[name];
        let numbers = names(&row[1].text, r"([0-9](?:[0-9.,]*[0-9])?)");
        for limit in &facts.limits {
            assert!(
                numbers.contains(limit),
                "{name}: {limit} is not in {:?}",
                row[1].text
            );
        }
        for choice in &facts.choices {
            let text = &row[1].text;
            let written = row[1].code.contains(choice) || numbers.contains(choice);
            assert!(written, "{name}: {choice} is not in {text:?}");
        }
        if let Some(default) = &facts.default {
            assert_eq!(&row[2].text, default, "the default of {name}");
        }
    }
}

#[test]
fn sources_page_has_every_refusal_of_a_source() {
    let page = page("docs/sources.md");
    let rows = page.rows("the message says");
    let told: Vec<_> = rows.iter().flat_map(|row| &row[0].code).collect();
    assert!(told.len() > 20, "{told:?}");
    let refusal = Regex::new(
        r#"(?:unsupported|cut_short|unsupported_media)\(\s*(?:format!\(\s*)?"((?:[^"\\]|\\.)*)""#,
    );
    let (refusal, mut count) = (refusal.expect("an expression"), 0);
    let continued = Regex::new(r"\\\n\s*").expect("an expression");
    for folder in [
        "crates/mp4-cut/src/read",
        "crates/mp4-cut/src/cut",
        "crates/ffmpeg/src",
        "crates/ffmpeg/src/remux",
    ] {
        for file in fs::read_dir(root().join(folder)).expect("a folder") {
            let path = file.expect("a file").path();
            if path.is_dir() || path.ends_with("moov.rs") {
                continue;
            }
            let code = fs::read_to_string(&path).expect("code");
            for found in refusal.captures_iter(&code) {
                let message = continued.replace_all(&found[1], "").into_owned();
                let is_told = told.iter().any(|part| message.contains(part.as_str()));
                assert!(is_told, "{}: {message:?} has no row", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 20, "refusals are found: {count}");
}

#[test]
fn requests_page_has_the_defaults_that_validate_fills_in() {
    let minimal = json_file(&root().join("examples/minimal.json"));
    let valid = validated(minimal).expect("the example is valid");
    let valid = serde_json::to_value(valid).expect("JSON");
    let page = page("docs/requests.md");
    let rows = keyed(page.rows("field"));
    for (field, name) in [
        ("cut", "cut"),
        ("output.format", "format"),
        ("output.quality", "quality"),
        ("output.thumbnails", "thumbnails"),
    ] {
        let default = shown(&valid[name]).replace(',', ", ");
        assert_eq!(rows[field][2].text, default, "the default of {field}");
    }
}

#[test]
fn examples_are_valid_requests_and_described() {
    let page = page("examples/README.md");
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_name().expect("a name").to_string_lossy();
            let valid = validated(json_file(&path));
            assert!(valid.is_ok(), "{name}: {}", valid.expect_err("invalid"));
            assert!(
                page.links.iter().any(|link| *link == name),
                "{name} is not described"
            );
            count += 1;
        }
    }
    assert!(count >= 5, "examples are found: {count}");
}

#[test]
fn requests_in_documents_can_be_parsed() {
    let mut count = 0;
    for file in ["README.md", "docs/requests.md"] {
        for code in page(file).code {
            let Ok(request) = serde_json::from_str::<Value>(&code) else {
                continue;
            };
            if request.is_object() && request.get("status").is_none() {
                let parsed = model::parse::<Request>(request);
                assert!(parsed.is_ok(), "{file}: {}", parsed.expect_err("invalid"));
                count += 1;
            }
        }
    }
    assert!(count >= 4, "requests are found: {count}");
}

#[test]
fn deploying_page_has_every_variable_with_its_default() {
    let page = page("docs/deploying.md");
    let mut rows = keyed(page.rows("variable"));
    for (name, variable) in blocks("terraform/variables.tf", "variable") {
        let row = rows.remove(&name);
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        let default = variable
            .get("default")
            .map_or("required".to_owned(), default_text);
        assert_eq!(row[1].text, default, "the default of {name}");
        assert_eq!(
            row[2].text,
            first_sentence(&variable["description"]),
            "{name}"
        );
    }
    assert!(
        rows.is_empty(),
        "rows without a variable: {:?}",
        rows.keys()
    );
}

#[test]
fn deploying_page_has_every_output() {
    let page = page("docs/deploying.md");
    let mut rows = keyed(page.rows("output"));
    for (name, output) in blocks("terraform/outputs.tf", "output") {
        let row = rows.remove(&name);
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(
            row[1].text,
            first_sentence(&output["description"]),
            "{name}"
        );
    }
    assert!(rows.is_empty(), "rows without an output: {:?}", rows.keys());
}

#[test]
fn outcomes_page_has_every_rejection() {
    let page = page("docs/outcomes.md");
    let reasons: BTreeSet<_> = keyed(page.rows("reason")).into_keys().collect();
    let kinds = ErrorKind::ALL.iter().filter(|kind| kind.is_rejection());
    assert_eq!(reasons, kinds.map(|kind| kind.name().to_owned()).collect());
}

#[test]
fn operating_page_has_every_error_that_fails_an_execution() {
    let page = page("docs/operating.md");
    let rows = keyed(page.rows("error"));
    // The definition handles these two.
    let handled = [ErrorKind::SourceNotReady, ErrorKind::TrimBudgetExceeded];
    for kind in ErrorKind::ALL {
        let is_failure = !kind.is_rejection() && !handled.contains(kind);
        assert_eq!(
            rows.contains_key(kind.name()),
            is_failure,
            "{}",
            kind.name()
        );
    }
}

#[test]
fn operating_page_has_every_alarm() {
    let alarms = read("terraform/alarms.tf");
    let mut expected = names(&alarms, r"(?m)^    ([a-z-]+) = \{$");
    for name in functions_with_events() {
        expected.insert(format!("{name}-dead-letters"));
    }
    let page = page("docs/operating.md");
    let alarms: BTreeSet<_> = keyed(page.rows("alarm")).into_keys().collect();
    assert_eq!(alarms, expected);
}

/// The functions that get events in Terraform.
fn functions_with_events() -> Vec<String> {
    let mut functions = Vec::new();
    let mut function = "";
    let locals = read("terraform/locals.tf");
    for line in locals.lines() {
        if line == "        event_pattern = {" {
            functions.push(function.to_owned());
        } else if let Some(name) = line.strip_suffix(" = {")
            && name.trim_start().len() + 6 == name.len()
        {
            function = name.trim_start();
        }
    }
    assert!(!functions.is_empty(), "no function has events");
    functions
}

/// What the schema says about a field.
#[derive(Debug, Default)]
struct Facts {
    limits: BTreeSet<String>,
    choices: BTreeSet<String>,
    default: Option<String>,
}

/// Adds the fields of a schema object, and their nested fields, by path.
fn add_fields(schema: &Value, object: &Value, path: &str, fields: &mut BTreeMap<String, Facts>) {
    for (name, field) in object["properties"].as_object().expect("properties") {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if let Some(inner) = inner_object(schema, field) {
            add_fields(schema, inner, &path, fields);
            continue;
        }
        let mut facts = Facts::default();
        add_facts(schema, field, &mut facts);
        facts.default = field.get("default").map(shown);
        fields.insert(path, facts);
    }
}

/// The schema of a field that is an object with named fields, if it is one.
fn inner_object<'a>(schema: &'a Value, field: &'a Value) -> Option<&'a Value> {
    let options = field["anyOf"].as_array().into_iter().flatten();
    let mut inner = options
        .chain([field])
        .map(|option| definition(schema, option));
    inner.find(|inner| inner.get("properties").is_some())
}

fn definition<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(name) => schema
            .pointer(name.trim_start_matches('#'))
            .expect("a definition"),
        None => node,
    }
}

fn add_facts(schema: &Value, node: &Value, facts: &mut Facts) {
    if node.get("$ref").is_some() {
        add_facts(schema, definition(schema, node), facts);
    }
    for list in ["anyOf", "oneOf"] {
        for option in node[list].as_array().into_iter().flatten() {
            add_facts(schema, option, facts);
        }
    }
    facts.choices.extend(node.get("const").map(shown));
    let choices = node["enum"].as_array();
    let choices = choices
        .into_iter()
        .flatten()
        .filter(|choice| !choice.is_null());
    facts.choices.extend(choices.map(shown));
    if node.get("properties").is_some() || node.get("enum").is_some() {
        return;
    }
    for limit in [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    ] {
        facts.limits.extend(node.get(limit).map(shown));
    }
    let lengths = Regex::new(r"\{([0-9]+),([0-9]+)\}").expect("a pattern");
    if let Some(lengths) = node["pattern"]
        .as_str()
        .and_then(|text| lengths.captures(text))
    {
        facts
            .limits
            .extend([lengths[1].to_owned(), lengths[2].to_owned()]);
    }
    if let Some(items) = node.get("items") {
        add_facts(schema, items, facts);
    }
}

/// A value as written in documents: with thousands separators, and strings without quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            let text = number.to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
            let mut digits = String::new();
            for (index, digit) in whole.chars().enumerate() {
                if index > 0 && (whole.len() - index).is_multiple_of(3) {
                    digits.push(',');
                }
                digits.push(digit);
            }
            if fraction == "0" {
                digits
            } else {
                format!("{digits}.{fraction}")
            }
        }
        other => other.to_string(),
    }
}

fn validated(request: Value) -> Result<ClipRequest, ClipError> {
    let source_buckets = vec![BUCKET.to_owned()];
    let limits = Limits {
        source_buckets,
        default_format: Format::default(),
    };
    Request::validate(request, &limits)
}

fn json_file(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a Terraform file, by name: the text of their attributes.
fn blocks(file: &str, kind: &str) -> BTreeMap<String, Map<String, Value>> {
    let body: Body = hcl::from_str(&read(file)).expect("HCL");
    let mut found = BTreeMap::new();
    for block in body.blocks().filter(|block| block.identifier() == kind) {
        let mut attributes = Map::new();
        for attribute in block.body.attributes() {
            attributes.insert(attribute.key().to_owned(), json(attribute.expr()));
        }
        found.insert(block.labels[0].as_str().to_owned(), attributes);
    }
    assert!(found.len() > 20, "{file} has {kind}s: {}", found.len());
    found
}

/// A Terraform constant; null for any other expression.
fn json(expression: &Expression) -> Value {
    match expression {
        Expression::Bool(value) => (*value).into(),
        Expression::Number(value) => value.as_f64().into(),
        Expression::String(value) => value.clone().into(),
        Expression::Array(_) => Value::Array(Vec::new()),
        Expression::Object(_) => Value::Object(Map::new()),
        Expression::TemplateExpr(template) => template.to_string().trim_start().into(),
        _ => Value::Null,
    }
}

fn default_text(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::Number(_) => shown(default).replace(',', ""),
        other => shown(other),
    }
}

/// The first sentence of a description, on one line.
fn first_sentence(description: &Value) -> String {
    let text = description.as_str().expect("a description");
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    let sentence = Regex::new(r"^.*?\.(?:\s|$)").expect("a pattern");
    sentence
        .find(&text)
        .map_or(text.as_str(), |sentence| sentence.as_str().trim_end())
        .to_owned()
}

/// The rows by the names in code in their first cells.
fn keyed(rows: Vec<&Row>) -> BTreeMap<String, &Row> {
    let names = rows
        .into_iter()
        .flat_map(|row| row[0].code.iter().map(move |name| (name, row)));
    names.map(|(name, row)| (name.clone(), row)).collect()
}

/// All matches of a pattern's first group in a text.
fn names(text: &str, pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn page(file: &str) -> Page {
    Page::parse(&read(file))
}

/// All documents, by their paths.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut found = BTreeMap::new();
    add_pages(Path::new(""), &mut found);
    found
}

fn add_pages(folder: &Path, found: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = folder.join(&name);
        if entry.path().is_dir() && !SKIPPED.contains(&name.as_str()) {
            add_pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let page = page(path.to_str().expect("a path in UTF-8"));
            found.insert(path, page);
        }
    }
}

/// A path without `..` in it.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part.as_os_str().to_str() {
            Some("..") => {
                resolved.pop();
            }
            Some(".") | None => {}
            Some(part) => resolved.push(part),
        }
    }
    resolved
}
