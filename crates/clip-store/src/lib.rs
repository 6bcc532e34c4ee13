//! Outcomes in `MongoDB`: the only code that writes it.
//!
//! It also works with Amazon `DocumentDB` 5, so it uses no bulk writes, no pipeline updates and no transactions. Each
//! clip has one document.
//!
//! # Connections
//!
//! A warm environment of a function keeps a client, and a client keeps one connection to each node to watch it, and one
//! to the primary for its work: 2 on a server of one node, 4 on a replica set of three (`tests/records.rs` counts them
//! on a `mongod`). 500 environments keep 2,000 connections to such a replica set. The driver cannot use a replica set
//! without monitoring its nodes. Polling a node takes one connection; streaming from it would take two.
//!
//! Terraform limits the number of environments: `report` by its mapping's concurrency, `store` by how many executions
//! run. A connection that was idle for a minute is not used again, because NAT gateways and load balancers forget
//! connections after 350 s, and an environment may be frozen for longer than that. The URI's own options
//! (`maxPoolSize`, `maxIdleTimeMS`, `serverMonitoringMode`, `serverSelectionTimeoutMS`) take precedence over these.
//!
//! # Trust
//!
//! The server's certificate is checked against the public CAs, or only against those in a file, if one is named.

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
        SelectionCriteria, ServerMonitoringMode, Tls, TlsOptions, WriteConcern,
    },
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::OnceCell;

/// The collection with one document per clip.
pub const COLLECTION: &str = "clips";
/// How long to look for a server, unless the URI says otherwise.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(8);
/// The most concurrent connections for work: a function does one thing at a time.
const MAX_POOL_SIZE: u32 = 1;
/// How long a connection for work may be idle and still be used.
const MAX_IDLE_TIME: Duration = Duration::from_mins(1);
/// How long to wait for an operation, including server selection and the driver's own retry. The driver itself waits
/// for an answer as long as the connection lives; the functions have 30 s.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// `DuplicateKey` in the error codes of `MongoDB` and `DocumentDB`.
const DUPLICATE_KEY: i32 = 11000;

/// The clips' documents.
#[derive(Debug, Clone)]
pub struct ClipStore {
    clips: Collection<Document>,
}

/// The clips' documents, connected on first use. So a connection failure is an error of the step, which the state
/// machine retries, and not a crash at startup, which it would not.
#[derive(Debug)]
pub struct LazyClipStore {
    secrets: aws_sdk_secretsmanager::Client,
    secret: String,
    database: String,
    ca_file: Option<PathBuf>,
    store: OnceCell<ClipStore>,
}

impl LazyClipStore {
    /// Documents in `database`. The server's URI is in the secret `secret`; its certificate is checked against
    /// `ca_file` as [`ClipStore::connect`] says.
    #[must_use]
    pub fn new(
        sdk_config: &aws_config::SdkConfig,
        secret: String,
        database: String,
        ca_file: Option<PathBuf>,
    ) -> Self {
        Self {
            secrets: aws_sdk_secretsmanager::Client::new(sdk_config),
            secret,
            database,
            ca_file,
            store: OnceCell::new(),
        }
    }

    /// The store; the first call reads the URI from its secret.
    ///
    /// # Errors
    /// `DependencyUnavailable` or `Internal` if the secret cannot be read or the URI cannot be used.
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
            ClipStore::connect(&uri, &self.database, self.ca_file.as_deref()).await
        };
        self.store.get_or_try_init(connect).await
    }
}

/// The result of saving a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is now the clip's document.
    Written,
    /// It was not saved: a newer execution's document, or a success of this execution, already exists and stays.
    Superseded,
}

impl ClipStore {
    /// Creates a client; it connects with the first operation.
    ///
    /// `ca_file` is a PEM file with the CAs that the server's certificate is checked against, instead of the public
    /// ones. It turns TLS on, unless the URI turns it off, and takes precedence over the URI's `tlsCAFile`: the URI of
    /// a `DocumentDB` cluster names a file on the machine of the person who copied it.
    ///
    /// # Errors
    /// `Internal` if the URI is malformed, or the CA file is missing or contains none.
    pub async fn connect(
        uri: &str,
        database: &str,
        ca_file: Option<&Path>,
    ) -> Result<Self, ClipError> {
        let options = client_options(uri, ca_file).await?;
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

    /// Creates missing indexes without blocking reads and writes. docs/queries.md says what each is for.
    ///
    /// # Errors
    /// `DependencyUnavailable` if `MongoDB` does not answer in time; it continues to build them.
    pub async fn ensure_indexes(&self) -> Result<(), ClipError> {
        let index = |name: &str, keys: Document, is_sparse: bool| {
            let mut options = IndexOptions::builder().name(name.to_owned()).build();
            options.sparse = is_sparse.then_some(true);
            in_background(&mut options);
            IndexModel::builder().keys(keys).options(options).build()
        };
        let newest_first = doc! {"execution.startedAt": -1};
        let of_status = doc! {"status": 1, "execution.startedAt": -1};
        let of_camera = doc! {"cameraId": 1, "startTimestampInMs": -1};
        let of_camera_and_status = doc! {"cameraId": 1, "status": 1, "startTimestampInMs": -1};
        let indexes = [
            index("startedAt", newest_first, false),
            index("status_startedAt", of_status, false),
            index("cameraId_startTimestampInMs", of_camera, true),
            index(
                "cameraId_status_startTimestampInMs",
                of_camera_and_status,
                true,
            ),
        ];
        let creation = self.clips.create_indexes(indexes);
        let made = in_time("making the indexes", creation.into_future()).await?;
        made.map(drop)
            .map_err(|error| failure("making the indexes", &error))
    }

    /// Makes `outcome` the clip's document, unless a newer execution's document exists. A failure does not replace the
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
        let save = self.clips.replace_one(filter, document).upsert(true);
        match in_time("saving the document", save.into_future()).await? {
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
        let find = self.clips.find_one(doc! {"_id": clip_id});
        let found = in_time("reading the document", find.into_future()).await?;
        let found = found.map_err(|error| failure("reading the document", &error))?;
        found
            .map(|document| model::parse(to_json(Bson::Document(document))))
            .transpose()
    }
}

/// Builds an index without blocking writes; `MongoDB` does that anyway, `DocumentDB` only if told.
#[expect(deprecated, reason = "of MongoDB only")]
fn in_background(options: &mut IndexOptions) {
    options.background = Some(true);
}

/// The client's options; the URI's take precedence over ours, except for `ca_file`.
async fn client_options(uri: &str, ca_file: Option<&Path>) -> Result<ClientOptions, ClipError> {
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
    let pool_size = options.min_pool_size.unwrap_or(0).max(MAX_POOL_SIZE);
    options.max_pool_size.get_or_insert(pool_size);
    options.max_idle_time.get_or_insert(MAX_IDLE_TIME);
    options
        .server_monitoring_mode
        .get_or_insert(ServerMonitoringMode::Poll);
    trust(&mut options, ca_file)?;
    Ok(options)
}

/// Checks the server's certificate against `ca_file`, or else the file that the URI names, and makes sure that the file
/// contains certificates: the driver itself accepts an empty file and then rejects every server.
fn trust(options: &mut ClientOptions, ca_file: Option<&Path>) -> Result<(), ClipError> {
    if let Some(ca_file) = ca_file {
        let tls = options
            .tls
            .get_or_insert_with(|| Tls::Enabled(TlsOptions::default()));
        if let Tls::Enabled(tls) = tls {
            tls.ca_file_path = Some(ca_file.to_owned());
        }
    }
    let Some(Tls::Enabled(tls)) = &options.tls else {
        return Ok(());
    };
    let Some(path) = &tls.ca_file_path else {
        return Ok(());
    };
    let (named_by, path_shown) = match ca_file {
        Some(_) => ("CLIPFLOW_MONGODB_CA_FILE", path.display()),
        None => ("tlsCAFile in the MongoDB URI", path.display()),
    };
    let remedy = "Terraform's mongodb_ca_file puts a file of CAs into the functions";
    match fs::read_to_string(path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
        Ok(_) => Err(ClipError::internal(format!(
            "{named_by} names {path_shown}, which holds no certificate; {remedy}"
        ))),
        Err(error) => Err(ClipError::internal(format!(
            "{named_by} names {path_shown}, which cannot be read ({error}); {remedy}"
        ))),
    }
}

/// The result of an operation, if it ends within [`MAX_WAIT`].
async fn in_time<T>(doing: &str, operation: impl Future<Output = T>) -> Result<T, ClipError> {
    tokio::time::timeout(MAX_WAIT, operation)
        .await
        .map_err(|_| {
            let seconds = MAX_WAIT.as_secs();
            ClipError::dependency_unavailable(format!(
                "{doing}: MongoDB did not answer within {seconds} s"
            ))
        })
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

/// JSON as BSON. A rejected request is stored as it was sent, so its names may contain characters that `MongoDB`
/// interprets as operators and paths: these become their full-width forms. Integers beyond 64 bits become doubles.
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

/// Matches error kinds and labels, never texts, which differ between `MongoDB` and `DocumentDB`.
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

/// Removes an unparsable URI from a message, because it contains a password.
fn without_secrets(text: &str, uri: &str) -> String {
    text.replace(uri, "(the URI)")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn options(uri: &str) -> ClientOptions {
        client_options(uri, None)
            .await
            .expect("the URI can be used")
    }

    #[tokio::test]
    async fn options_of_the_uri_go_before_ours() {
        let ours = options("mongodb://a").await;
        assert_eq!(
            (
                ours.max_pool_size,
                ours.max_idle_time,
                ours.server_monitoring_mode
            ),
            (
                Some(1),
                Some(MAX_IDLE_TIME),
                Some(ServerMonitoringMode::Poll)
            )
        );
        let uri = "mongodb://a/?maxPoolSize=7&maxIdleTimeMS=1&serverMonitoringMode=auto";
        let theirs = options(uri).await;
        assert_eq!(
            (
                theirs.max_pool_size,
                theirs.max_idle_time,
                theirs.server_monitoring_mode
            ),
            (
                Some(7),
                Some(Duration::from_millis(1)),
                Some(ServerMonitoringMode::Auto)
            )
        );
        let least = options("mongodb://a/?minPoolSize=3").await;
        assert_eq!(least.max_pool_size, Some(3), "never below the minimum");
    }

    #[tokio::test]
    async fn file_of_cas_that_is_missing_or_holds_none_is_named() {
        for (file, why) in [
            ("global-bundle.pem", "cannot be read"),
            ("Cargo.toml", "no certificate"),
        ] {
            let uri = format!("mongodb://u:secret@a/?tls=true&tlsCAFile={file}");
            let by_uri = client_options(&uri, None).await;
            let by_deployment = client_options("mongodb://u:secret@a", Some(Path::new(file))).await;
            for (options, named_by) in [
                (by_uri, "tlsCAFile"),
                (by_deployment, "CLIPFLOW_MONGODB_CA_FILE"),
            ] {
                let error = options.expect_err("nothing to trust");
                assert!(error.message.starts_with(named_by), "{error}");
                assert!(
                    error.message.contains(file) && error.message.contains(why),
                    "{error}"
                );
                assert!(!error.message.contains("secret"), "{error}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_does_not_answer_is_dependency_unavailable() {
        let waited = in_time("saving", std::future::pending::<()>()).await;
        let error = waited.expect_err("nobody answers");
        assert_eq!(error.kind, model::ErrorKind::DependencyUnavailable);
    }
}
