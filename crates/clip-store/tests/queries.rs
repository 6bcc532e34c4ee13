//! The queries of docs/queries.md on 100,000 documents in a real `mongod`: each reads exactly what it returns, from an
//! index.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use common::Mongod;
use mongodb::{
    Collection, Database,
    bson::{Bson, DateTime, Document, doc},
};
use std::{fs, path::Path, time::Instant};

/// How many documents there are.
const CLIPS: i64 = 100_000;
/// The number of cameras, which take turns.
const CAMERAS: i64 = 50;
/// When the first clip begins and is requested, in milliseconds: 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600_000;
/// The distance between clips, in milliseconds.
const STEP: i64 = 60_000;

/// A query from the page.
#[derive(Debug)]
struct Query {
    text: String,
    filter: Document,
    sort: Document,
    limit: i64,
}

/// The queries of the page: lines of its code blocks that begin with `db.clips.find`.
fn queries() -> Vec<Query> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/queries.md");
    let page = fs::read_to_string(page).expect("the page");
    let joined = page.replace("\n    .", ".");
    let lines = joined
        .lines()
        .filter(|line| line.starts_with("db.clips.find("));
    lines.map(query).collect()
}

fn query(line: &str) -> Query {
    let argument = |name: &str| {
        let (_, rest) = line.split_once(&format!(".{name}(")).expect(name);
        let end = rest.find(").").or(rest.rfind(')')).expect("an end");
        rest[..end].to_owned()
    };
    Query {
        text: line.to_owned(),
        filter: document(&argument("find")),
        sort: document(&argument("sort")),
        limit: argument("limit").parse().expect("a number"),
    }
}

/// Parses a document in the shell's notation: unquoted names, and `ISODate`.
fn document(text: &str) -> Document {
    let mut json = String::new();
    for (index, part) in text.split('"').enumerate() {
        // Every second part is a string.
        if index % 2 == 1 {
            json += &["\"", part, "\""].concat();
            continue;
        }
        let part = part.replace("ISODate(", "{\"$date\": ").replace(')', "}");
        let is_name = |character: char| character.is_alphanumeric() || character == '$';
        let mut rest = &part[..];
        while let Some(start) = rest.find(is_name) {
            let name = &rest[start..];
            let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
            json += &rest[..start];
            if name[end..].starts_with(':') {
                json += &["\"", &name[..end], "\""].concat();
            } else {
                json += &name[..end];
            }
            rest = &name[end..];
        }
        json += rest;
    }
    let value: serde_json::Value =
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let value = Bson::try_from(value).expect("extended JSON");
    value.as_document().expect("a document").clone()
}

/// The document of a clip. Of every three, one was cut from an object, and two from a camera's recordings.
fn clip(number: i64) -> Document {
    let status = ["available", "available", "available", "rejected", "failed"];
    let status = status[usize::try_from(number / 7 % 5).expect("an index")];
    let started = DateTime::from_millis(BEGIN + number * STEP);
    let mut clip = doc! {"_id": format!("clip-{number}"), "clipId": format!("clip-{number}"), "status": status,
    "execution": {"arn": format!("arn:{number}"), "startedAt": started}, "bucket": "clips"};
    if number % 3 > 0 {
        let begin = BEGIN + number * STEP;
        clip.insert("cameraId", format!("camera-{}", number % CAMERAS));
        clip.insert("startTimestampInMs", begin);
        clip.insert("endTimestampInMs", begin + 20_000);
    }
    clip
}

async fn fill(clips: &Collection<Document>) {
    for first in (0..CLIPS).step_by(10_000) {
        let inserted = clips.insert_many((first..first + 10_000).map(clip)).await;
        inserted.expect("room for documents");
    }
}

/// What `explain` says about a query that was run.
async fn explained(database: &Database, query: &Query) -> Document {
    let find = doc! {"find": "clips", "filter": query.filter.clone(), "sort": query.sort.clone(), "limit": query.limit};
    let explain = database.run_command(doc! {"explain": find, "verbosity": "executionStats"});
    explain.await.expect("mongod explains it")
}

fn number(stats: &Document, name: &str) -> i64 {
    let value = stats.get(name).expect(name);
    value
        .as_i64()
        .or(value.as_i32().map(i64::from))
        .expect("a number")
}

#[tokio::test]
async fn queries_of_the_page_read_what_they_return_from_an_index_and_nothing_else() {
    let mongod = Mongod::start();
    let store = mongod.records().await;
    let client = mongodb::Client::with_uri_str(mongod.uri()).await;
    let database = client.expect("the URI can be used").database("clipflow");
    let clips = database.collection::<Document>(clip_store::COLLECTION);
    // A deployment of an earlier release has documents but not all indexes.
    clips.drop_indexes().await.expect("mongod answers");
    fill(&clips).await;
    let begun = Instant::now();
    store.ensure_indexes().await.expect("indexes in time");
    let seconds = begun.elapsed().as_secs_f64();
    println!("indexes of {CLIPS} documents were made in {seconds:.1} s");

    let queries = queries();
    assert!(queries.len() >= 6, "{queries:?}");
    for query in &queries {
        let text = &query.text;
        let explained = explained(&database, query).await;
        let stats = explained
            .get_document("executionStats")
            .expect("statistics");
        let returned = number(stats, "nReturned");
        assert!(returned > 0, "{text} finds nothing");
        assert_eq!(number(stats, "totalDocsExamined"), returned, "{text}");
        // One more key marks the end of an interval.
        let keys = number(stats, "totalKeysExamined");
        assert!(
            keys <= returned + 1,
            "{text} looks at {keys} keys for {returned}"
        );
        let plan = explained.get_document("queryPlanner").expect("a plan");
        let plan = plan.get("winningPlan").expect("the plan").to_string();
        assert!(plan.contains("IXSCAN"), "{text}: {plan}");
        assert!(
            !plan.contains("\"SORT\""),
            "{text} is sorted in memory: {plan}"
        );
        let milliseconds = number(stats, "executionTimeMillis");
        println!("{returned} of {CLIPS} in {milliseconds} ms, {keys} keys: {text}");
    }
}

#[tokio::test]
async fn indexes_that_are_there_are_made_again_without_a_word() {
    let mongod = Mongod::start();
    let store = mongod.records().await;
    store.ensure_indexes().await.expect("they are there");
    let client = mongodb::Client::with_uri_str(mongod.uri()).await;
    let database = client.expect("the URI can be used").database("clipflow");
    let clips = database.collection::<Document>(clip_store::COLLECTION);
    let mut names = clips.list_index_names().await.expect("mongod answers");
    names.sort();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/queries.md");
    let page = fs::read_to_string(page).expect("the page");
    names.retain(|name| name != "_id_");
    for name in &names {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not on the page"
        );
    }
    assert_eq!(names.len(), 4);
}
