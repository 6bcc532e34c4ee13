//! Outcomes in `MongoDB`: the only code that writes it.
//!
//! Also runs on Amazon `DocumentDB` 5: no bulk write, no pipeline updates, no transactions; one document a clip.

use aws::sdk;
use model::{
    error::ClipError,
    outcome::{Outcome, Status},
};
use mongodb::{
    Client, Collection, IndexModel,
    bson::{Bson, DateTime, Document, doc},
    error::{Error, ErrorKind, WriteFailure},
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, IndexOptions, ReadConcern,
        SelectionCriteria, WriteConcern,
    },
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The collection that holds one document a clip.
pub const COLLECTION: &str = "clips";
/// How long to look for a server, unless the URI says otherwise.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(8);
/// `DuplicateKey` in the error codes of `MongoDB` and `DocumentDB`.
const DUPLICATE_KEY: i32 = 11000;

/// The clips' documents.
#[derive(Debug, Clone)]
pub struct ClipStore {
    clips: Collection<Document>,
}

/// The clips' documents, connected at the first use, so that trouble on the way there is an error of the step, which the
/// state machine retries, and not of the process, which it would not.
#[derive(Debug)]
pub struct LazyClipStore {
    secrets: aws_sdk_secretsmanager::Client,
    secret: String,
    database: String,
    store: OnceCell<ClipStore>,
}

impl LazyClipStore {
    /// Documents in `database`, of the server whose URI is in the secret `secret`.
    #[must_use]
    pub fn new(sdk_config: &aws_config::SdkConfig, secret: String, database: String) -> Self {
        Self {
            secrets: aws_sdk_secretsmanager::Client::new(sdk_config),
            secret,
            database,
            store: OnceCell::new(),
        }
    }

    /// The store; the first call reads the URI from its secret.
    ///
    /// # Errors
    /// `DependencyUnavailable` or `Internal` when the secret cannot be read or the URI cannot be used.
    pub async fn get(&self) -> Result<&ClipStore, ClipError> {
        let connect = async || {
            let read = self
                .secrets
                .get_secret_value()
                .secret_id(&self.secret)
                .send()
                .await;
            let read = read.map_err(|error| {
                sdk::failure(&format!("reading secret {}", self.secret), &error)
            })?;
            let uri = read.secret_string.unwrap_or_default();
            ClipStore::connect(&uri, &self.database).await
        };
        self.store.get_or_try_init(connect).await
    }
}

/// What became of a document that was to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is the clip's document now.
    Written,
    /// A newer execution's document, or this execution's better news, is there already and stays.
    Superseded,
}

impl ClipStore {
    /// Makes a client; it connects with the first operation.
    ///
    /// # Errors
    /// `Internal` when the URI is malformed.
    pub async fn connect(uri: &str, database: &str) -> Result<Self, ClipError> {
        let mut options = ClientOptions::parse(uri).await.map_err(|error| {
            ClipError::internal(format!(
                "the MongoDB URI cannot be used: {}",
                without_secrets(&error.to_string(), uri)
            ))
        })?;
        options.app_name.get_or_insert_with(|| "clipflow".into());
        options
            .server_selection_timeout
            .get_or_insert(SERVER_SELECTION_TIMEOUT);
        let client = Client::with_options(options)
            .map_err(|error| failure("connecting to MongoDB", &error))?;
        let concern = WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build();
        let options = CollectionOptions::builder()
            .write_concern(concern)
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(
                mongodb::options::ReadPreference::Primary,
            ))
            .build();
        Ok(Self {
            clips: client
                .database(database)
                .collection_with_options(COLLECTION, options),
        })
    }

    /// Makes the indexes that are not there yet.
    ///
    /// # Errors
    /// `DependencyUnavailable` when `MongoDB` does not answer.
    pub async fn ensure_indexes(&self) -> Result<(), ClipError> {
        let index = |name: &str, keys: Document| {
            IndexModel::builder()
                .keys(keys)
                .options(IndexOptions::builder().name(name.to_owned()).build())
                .build()
        };
        let indexes = [
            index("startedAt", doc! {"execution.startedAt": -1}),
            index(
                "status_startedAt",
                doc! {"status": 1, "execution.startedAt": -1},
            ),
        ];
        let made = self.clips.create_indexes(indexes).await;
        made.map(drop)
            .map_err(|error| failure("making the indexes", &error))
    }

    /// Makes `outcome` the clip's document, unless that of a newer execution is there; a failure does not replace the
    /// clip that its own execution delivered.
    ///
    /// # Errors
    /// `DependencyUnavailable` when `MongoDB` does not answer.
    pub async fn save(&self, outcome: &Outcome) -> Result<Saved, ClipError> {
        let document = document(outcome)?;
        let started_at = document
            .get_document("execution")
            .and_then(|e| e.get_datetime("startedAt"))
            .copied();
        let started_at = started_at
            .map_err(|error| ClipError::internal(format!("execution.startedAt: {error}")))?;
        let arn = &outcome.execution.arn;
        let older =
            doc! {"execution.arn": {"$ne": arn}, "execution.startedAt": {"$lt": started_at}};
        let own = match outcome.status {
            Status::Failed => doc! {"execution.arn": arn, "status": Status::Failed.name()},
            Status::Available | Status::Rejected => doc! {"execution.arn": arn},
        };
        let filter = doc! {"_id": &outcome.clip_id, "$or": [older, own]};
        match self.clips.replace_one(filter, document).upsert(true).await {
            Ok(_) => Ok(Saved::Written),
            Err(error) if is_duplicate_key(&error) => Ok(Saved::Superseded),
            Err(error) => Err(failure("saving the document", &error)),
        }
    }

    /// The clip's document, as JSON in the shape of an [`Outcome`].
    ///
    /// # Errors
    /// `DependencyUnavailable` when `MongoDB` does not answer.
    pub async fn find(&self, clip_id: &str) -> Result<Option<Outcome>, ClipError> {
        let found = self.clips.find_one(doc! {"_id": clip_id}).await;
        let found = found.map_err(|error| failure("reading the document", &error))?;
        found
            .map(|document| model::parse(to_json(Bson::Document(document))))
            .transpose()
    }
}

fn document(outcome: &Outcome) -> Result<Document, ClipError> {
    let json = serde_json::to_value(outcome).expect("an outcome is JSON");
    let Bson::Document(mut document) = to_bson(json) else {
        unreachable!("an outcome is an object")
    };
    document.insert("_id", &outcome.clip_id);
    document.insert("updatedAt", date("updatedAt", &outcome.updated_at)?);
    let started_at = date("execution.startedAt", &outcome.execution.started_at)?;
    document.insert(
        "execution",
        doc! {"arn": &outcome.execution.arn, "startedAt": started_at},
    );
    Ok(document)
}

fn date(field: &str, text: &str) -> Result<DateTime, ClipError> {
    DateTime::parse_rfc3339_str(text)
        .map_err(|error| ClipError::internal(format!("{field}: {text:?}: {error}")))
}

/// JSON as BSON. A rejected request is kept as it was sent, so its names may hold what `MongoDB` reads as operators and
/// paths: those characters become their full-width forms. Integers beyond 64 bits become doubles.
fn to_bson(json: Value) -> Bson {
    match json {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(value),
        Value::String(value) => Bson::String(value),
        Value::Array(items) => Bson::Array(items.into_iter().map(to_bson).collect()),
        Value::Object(map) => Bson::Document(
            map.into_iter()
                .map(|(key, value)| (safe(key), to_bson(value)))
                .collect(),
        ),
        Value::Number(number) => number.as_i64().map_or_else(
            || Bson::Double(number.as_f64().unwrap_or(f64::MAX)),
            Bson::Int64,
        ),
    }
}

fn safe(key: String) -> String {
    if key.contains(['$', '.', '\0']) {
        key.replace('$', "\u{ff04}")
            .replace('.', "\u{ff0e}")
            .replace('\0', "\u{2400}")
    } else {
        key
    }
}

fn to_json(bson: Bson) -> Value {
    match bson {
        Bson::DateTime(date) => date
            .try_to_rfc3339_string()
            .map_or(Value::Null, Value::String),
        Bson::Document(document) => document
            .into_iter()
            .filter(|(key, _)| key != "_id")
            .map(|(key, value)| (key, to_json(value)))
            .collect(),
        Bson::Array(items) => items.into_iter().map(to_json).collect(),
        other => other.into_relaxed_extjson(),
    }
}

fn is_duplicate_key(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// Matches kinds and labels, never texts, which differ between `MongoDB` and `DocumentDB`.
fn failure(doing: &str, error: &Error) -> ClipError {
    let message = format!("{doing}: {error}");
    let passing = matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
    ) || [
        "RetryableWriteError",
        "TransientTransactionError",
        "SystemOverloadedError",
    ]
    .iter()
    .any(|label| error.contains_label(label))
        || matches!(
            error.kind.as_ref(),
            ErrorKind::Write(WriteFailure::WriteConcernError(_))
        );
    if passing {
        ClipError::dependency_unavailable(message)
    } else {
        ClipError::internal(message)
    }
}

/// A URI that cannot be parsed must not be repeated with the password that it holds.
fn without_secrets(text: &str, uri: &str) -> String {
    text.replace(uri, "(the URI)")
}
