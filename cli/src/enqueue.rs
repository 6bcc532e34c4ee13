//! `clipflow enqueue`: sends requests to the queue, one or thousands.

use crate::{
    deployment::Deployment,
    executions::{CONCURRENCY, Execution},
    failure::Failure,
    render,
    requests::{self, Line},
    show,
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use clap::ValueEnum;
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    execution::{ExecutionName, execution_arn},
    identity::Identity,
};
use serde_json::{Map, Value, json};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// The most messages in a batch, and the most bytes of them (SQS developer guide, "Message quotas": 1 MiB; 256 KiB until
/// August 2025, and still where that is not known).
const BATCH: (usize, usize) = (10, 256 * 1024);
/// How often a message that SQS did not take is sent again.
const ATTEMPTS: u32 = 5;
/// How many invalid requests are told of.
const MAX_ERRORS: usize = 20;

/// Send requests to the queue
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow enqueue --source s3://surf-archive/2018-08-02.mp4 --start 1:12.5 --end 1:30 --wait
  clipflow enqueue --camera hi-pipeline --start 2018-08-02T15:40:00Z --end 2018-08-02T15:40:22Z
  clipflow enqueue request.json
  clipflow enqueue requests.csv --dry-run
  generate-requests | clipflow enqueue -

A file holds one JSON request, one JSON request a line (JSONL), or CSV (.csv) with one column for each field: \
clipId, source (s3://bucket/key), start, end, cut, metadata.spot, output.thumbnails. All requests are checked before \
the first is sent. It is safe to send a request again: it starts nothing, unless it was rejected because of a source, \
a recording or a limit. If a run is interrupted, the same command continues it.")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["file", "source", "camera"])))]
pub struct Args {
    /// A file of requests; - for standard input
    file: Option<PathBuf>,
    /// Format of the file [default: by its name]
    #[arg(long, requires = "file")]
    format: Option<Format>,
    /// Check the requests and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Follow the executions to their outcomes
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    request: Flags,
}

/// What a file of requests is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON, one request or many
    Json,
    /// CSV with a header
    Csv,
}

/// One request.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A request")]
struct Flags {
    /// The object to cut from, as an S3 URI
    #[arg(long, value_name = "s3://BUCKET/KEY", value_parser = requests::source, requires_all = ["start", "end"])]
    source: Option<Value>,
    /// The camera whose recordings are cut
    #[arg(long, value_name = "ID", conflicts_with = "source", requires_all = ["start", "end"])]
    camera: Option<String>,
    /// Where the clip starts: 72.5, 1:12.5 or 25%; with --camera, an RFC 3339 time
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    start: Option<String>,
    /// Where it ends (exclusive)
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    end: Option<String>,
    /// The clip's name [default: derived from the request]
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    clip_id: Option<String>,
    /// exact or copy
    #[arg(long, conflicts_with = "file")]
    cut: Option<String>,
    /// Whether to accept or reject a damaged source
    #[arg(long, conflicts_with = "file")]
    damage: Option<String>,
    /// Kept with the clip's document; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "file")]
    metadata: Vec<(String, String)>,
}

impl Flags {
    fn request(self) -> Value {
        let text = |text: Option<String>| text.map(Value::from);
        let metadata: Map<_, _> = self
            .metadata
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        let fields = [
            ("clipId", text(self.clip_id)),
            ("source", self.source),
            ("cameraId", text(self.camera)),
            ("start", text(self.start)),
            ("end", text(self.end)),
            ("cut", text(self.cut)),
            ("damage", text(self.damage)),
            ("metadata", (!metadata.is_empty()).then(|| metadata.into())),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect::<Map<_, _>>()
            .into()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Sends requests.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let (name, lines) = match &args.file {
        None => (
            "the request".to_owned(),
            vec![(0, Ok(args.request.request()))],
        ),
        Some(file) => (file.display().to_string(), read(file, args.format)?),
    };
    let (requests, duplicates) =
        checked(&name, lines, deployment.outputs.source_buckets.as_deref())?;
    if args.dry_run {
        if json {
            render::json(&json!({"valid": requests.len(), "duplicates": duplicates}));
        } else {
            render::say(format!(
                "{} valid, {duplicates} of them written more than once",
                count(requests.len() + duplicates)
            ));
        }
        return Ok(());
    }
    let queue_url = deployment.queue_url()?;
    let journal = args
        .file
        .as_deref()
        .filter(|file| *file != Path::new("-") && requests.len() > BATCH.0);
    let mut journal = journal
        .map(|file| Journal::open(file, queue_url))
        .transpose()?;
    let unsent: Vec<&Identity> = requests
        .iter()
        .filter(|request| !is_sent(journal.as_ref(), request))
        .collect();
    let before = requests.len() - unsent.len();
    if before > 0 {
        eprintln!("{before} were sent before");
    }
    let before_sending = if args.wait {
        newest(deployment, &requests).await?
    } else {
        Vec::new()
    };
    send_all(deployment, queue_url, &unsent, journal.as_mut()).await?;
    if let Some(journal) = journal {
        journal.remove()?;
    }
    let names: Vec<_> = requests
        .iter()
        .map(|request| ExecutionName::from(request).to_string())
        .collect();
    if !args.wait {
        if json {
            let requests = requests
                .iter()
                .zip(&names)
                .map(|(request, name)| json!({"clipId": request.clip_id, "execution": name}));
            let requests: Vec<_> = requests.collect();
            render::json(
                &json!({"sent": unsent.len(), "sentBefore": before, "duplicates": duplicates, "requests": requests}),
            );
        } else {
            names.iter().take(BATCH.0).for_each(render::say);
            let twice = if duplicates > 0 {
                format!("; {duplicates} were written more than once")
            } else {
                String::new()
            };
            render::say(format!("{} sent{twice}", count(unsent.len())));
        }
        return Ok(());
    }
    let unsent: HashSet<_> = unsent.iter().map(|request| &request.request_hash).collect();
    let (mut executions, mut earlier) = (Vec::new(), Vec::new());
    for (request, newest) in requests.iter().zip(&before_sending) {
        let is_sent = unsent.contains(&request.request_hash);
        let (name, is_earlier) = expected(request, newest.as_ref(), is_sent);
        let machine = &deployment.outputs.state_machine_arn;
        executions.push(execution_arn(machine, &name.to_string()));
        earlier.extend(is_earlier.then_some(name));
    }
    tell_earlier(&earlier);
    show::availability(&show::wait(deployment, &executions, json).await?)
}

/// The newest execution of each request.
async fn newest(
    deployment: &Deployment,
    requests: &[Identity],
) -> Result<Vec<Option<Execution>>, Failure> {
    let looks = requests.iter().map(async |request| {
        let first = ExecutionName::from(request);
        deployment.newest(&first).await
    });
    stream::iter(looks)
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

/// The execution whose outcome a request has, given the newest one before it was sent, and whether it is an earlier one.
fn expected(
    request: &Identity,
    newest: Option<&Execution>,
    is_sent: bool,
) -> (ExecutionName, bool) {
    let first = ExecutionName::from(request);
    let Some(newest) = newest else {
        return (first, false);
    };
    let name = ExecutionName::parse(&newest.name).unwrap_or(first);
    match name.next().filter(|_| is_sent && newest.is_mendable()) {
        Some(next) => (next, false),
        None => (name, is_sent),
    }
}

/// Says which requests start nothing.
fn tell_earlier(earlier: &[ExecutionName]) {
    for name in earlier.iter().take(BATCH.0) {
        eprintln!(
            "{}: sent before; {name} is its execution and nothing new starts",
            name.clip_id
        );
    }
    if earlier.len() > BATCH.0 {
        eprintln!("and {} more were sent before", earlier.len() - BATCH.0);
    }
}

fn count(requests: usize) -> String {
    if requests == 1 {
        "1 request".to_owned()
    } else {
        format!("{requests} requests")
    }
}

fn read(file: &Path, format: Option<Format>) -> Result<Vec<Line>, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let is_csv = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    Ok(match format {
        Some(Format::Csv) => requests::read_csv(&text),
        None if is_csv => requests::read_csv(&text),
        _ => requests::read_json(&text),
    })
}

/// The requests, each once, and how many were written more than once.
///
/// # Errors
/// Wrong usage, naming the lines and fields at fault.
fn checked(
    name: &str,
    lines: Vec<Line>,
    buckets: Option<&[String]>,
) -> Result<(Vec<Identity>, usize), Failure> {
    let (mut requests, mut errors) = (Vec::new(), Vec::new());
    let (mut seen, mut duplicates) = (HashSet::new(), 0);
    if lines.is_empty() {
        return Err(Failure::usage(format!("{name} holds no request")));
    }
    for (line, value) in lines {
        match value
            .and_then(|value| requests::check(&value, buckets).map_err(|error| error.message))
        {
            Ok(identity) if seen.insert(identity.request_hash.clone()) => requests.push(identity),
            Ok(_) => duplicates += 1,
            Err(error) if line == 0 => errors.push(error),
            Err(error) => errors.push(format!("{name}:{line}: {error}")),
        }
    }
    if errors.is_empty() {
        return Ok((requests, duplicates));
    }
    let more = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    if more > 0 {
        errors.push(format!("and {more} more"));
    }
    Err(Failure::usage(format!(
        "{}\nnothing was sent",
        errors.join("\n")
    )))
}

async fn send_all(
    deployment: &Deployment,
    queue_url: &str,
    requests: &[&Identity],
    mut journal: Option<&mut Journal>,
) -> Result<(), Failure> {
    let bar = render::bar(requests.len(), "send");
    let mut sends = stream::iter(batches(requests))
        .map(async |batch| send(deployment, queue_url, batch).await.map(|()| batch))
        .buffer_unordered(CONCURRENCY);
    while let Some(sent) = sends.next().await {
        let batch = sent.map_err(|failure| {
            let (sent, all) = (bar.position(), requests.len());
            Failure::new(format!(
                "{}\n{sent} of {all} were sent; the same command sends the others",
                failure.message
            ))
        })?;
        if let Some(journal) = &mut journal {
            journal.add(batch)?;
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The requests in batches that SQS takes.
fn batches<'a, 'b>(requests: &'b [&'a Identity]) -> Vec<&'b [&'a Identity]> {
    let (mut batches, mut rest) = (Vec::new(), requests);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |request: &&&Identity| {
            bytes += request.canonical.len();
            bytes <= BATCH.1
        };
        let (batch, others) =
            rest.split_at(rest.iter().take(BATCH.0).take_while(fits).count().max(1));
        batches.push(batch);
        rest = others;
    }
    batches
}

async fn send(
    deployment: &Deployment,
    queue_url: &str,
    batch: &[&Identity],
) -> Result<(), Failure> {
    let entry = |(index, request): (usize, &&Identity)| {
        let entry = SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(&request.canonical);
        entry.build().expect("it has an id and a body")
    };
    let mut entries: Vec<_> = batch.iter().enumerate().map(entry).collect();
    for attempt in 1.. {
        let send = deployment
            .sqs
            .send_message_batch()
            .queue_url(queue_url)
            .set_entries(Some(entries.clone()));
        let failed = send
            .send()
            .await
            .map_err(Failure::of_call("sending to the queue"))?
            .failed;
        let Some(first) = failed.first() else { break };
        if attempt == ATTEMPTS || failed.iter().any(|one| one.sender_fault) {
            let message = first.message().unwrap_or("no message");
            return Err(Failure::new(format!(
                "sending to the queue: {}: {message}",
                first.code
            )));
        }
        entries.retain(|entry| failed.iter().any(|one| one.id == entry.id));
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
    }
    Ok(())
}

/// What of a file has been sent: a file beside it, so that an interrupted run can go on.
struct Journal {
    path: PathBuf,
    file: File,
    sent: HashSet<String>,
}

impl Journal {
    /// The journal of a file of requests; empty when it is of another queue.
    fn open(requests: &Path, queue_url: &str) -> Result<Self, Failure> {
        let mut name = requests.file_name().unwrap_or_default().to_owned();
        name.push(".sent");
        let path = requests.with_file_name(name);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = kept.lines();
        let is_same = lines.next() == Some(queue_url);
        let sent = if is_same {
            lines.map(str::to_owned).collect()
        } else {
            HashSet::new()
        };
        let mut options = OpenOptions::new();
        let options = options
            .create(true)
            .write(true)
            .append(is_same)
            .truncate(!is_same);
        let file = options
            .open(&path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let mut journal = Self { path, file, sent };
        if !is_same {
            journal.write(&format!("{queue_url}\n"))?;
        }
        Ok(journal)
    }

    fn add(&mut self, batch: &[&Identity]) -> Result<(), Failure> {
        let hashes: Vec<_> = batch
            .iter()
            .map(|request| request.request_hash.as_str())
            .collect();
        self.write(&(hashes.join("\n") + "\n"))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }

    fn remove(self) -> Result<(), Failure> {
        std::fs::remove_file(&self.path)
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }
}

fn is_sent(journal: Option<&Journal>, request: &Identity) -> bool {
    journal.is_some_and(|journal| journal.sent.contains(&request.request_hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{
        operation::describe_execution::DescribeExecutionOutput, primitives::DateTime,
        types::ExecutionStatus,
    };
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn line(line: usize, end: i32) -> Line {
        (
            line,
            Ok(json!({"source": {"bucket": "archive", "key": "k"}, "start": 1, "end": end})),
        )
    }

    #[test]
    fn flags_make_a_request() {
        let arguments = "c --source s3://archive/a.mp4 --start 1:12.5 --end 90 --clip-id a --metadata spot=Pipe=line --cut copy --damage reject";
        let cli = Cli::try_parse_from(arguments.split(' ')).expect("the arguments are right");
        let expected = json!({"clipId": "a", "source": {"bucket": "archive", "key": "a.mp4"}, "start": "1:12.5",
            "end": "90", "cut": "copy", "damage": "reject", "metadata": {"spot": "Pipe=line"}});
        assert_eq!(cli.args.request.request(), expected);
    }

    #[test]
    fn flags_make_a_request_for_a_camera_s_recordings() {
        let arguments =
            "c --camera pipe/north --start 2018-08-02T15:40:00Z --end 2018-08-02T15:40:22.5Z";
        let cli = Cli::try_parse_from(arguments.split(' ')).expect("the arguments are right");
        requests::check(&cli.args.request.request(), None).expect("it is valid");
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for arguments in [
            "c",
            "c --source s3://a/b --start 1",
            "c --source archive/a.mp4 --start 1 --end 2",
            "c r.json --start 1",
        ] {
            assert!(
                Cli::try_parse_from(arguments.split(' ')).is_err(),
                "{arguments}"
            );
        }
    }

    #[test]
    fn invalid_lines_are_named_and_duplicates_counted() {
        let (requests, duplicates) =
            checked("r", vec![line(1, 2), line(2, 3), line(3, 2)], None).expect("they are valid");
        assert_eq!((requests.len(), duplicates), (2, 1));
        let failure = checked(
            "r.jsonl",
            vec![line(1, 2), line(2, 0), (3, Err("no".into()))],
            None,
        )
        .expect_err("two are not");
        let said = "r.jsonl:2: end: 0 s is not after start, 1 s\nr.jsonl:3: no\nnothing was sent";
        assert_eq!((failure.code, failure.message.as_str()), (2, said));
        let many = (1..=30).map(|number| line(number, 0)).collect();
        assert!(
            checked("r", many, None)
                .expect_err("none is valid")
                .message
                .contains("\nand 10 more\n")
        );
    }

    #[test]
    fn batches_have_ten_messages_and_a_quarter_of_a_mebibyte_at_the_most() {
        let request = |bytes| Identity {
            canonical: "x".repeat(bytes),
            ..Identity::of(&json!({}))
        };
        let sizes = |requests: &[Identity]| {
            let requests: Vec<&Identity> = requests.iter().collect();
            batches(&requests)
                .into_iter()
                .map(<[_]>::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&vec![request(300); 23]), [10, 10, 3]);
        assert_eq!(sizes(&vec![request(60_000); 6]), [4, 2]);
        assert_eq!(sizes(&vec![request(300_000); 2]), [1, 1]);
    }

    #[test]
    fn outcome_of_an_earlier_execution_is_told_and_a_mendable_rejection_is_followed() {
        let request = Identity::of(&json!({"clipId": "a"}));
        let first = ExecutionName::from(&request);
        let newest = |status: &str, reason: &str| {
            let output = json!({"status": status, "reason": reason}).to_string();
            let described = DescribeExecutionOutput::builder()
                .execution_arn("arn:e")
                .state_machine_arn("arn:m")
                .name(first.next().expect("a name").to_string())
                .status(ExecutionStatus::Succeeded)
                .start_date(DateTime::from_secs(0))
                .output(output);
            Execution::from(described.build().expect("complete"))
        };
        let told = |newest: Option<&Execution>, is_sent| {
            let (name, is_earlier) = expected(&request, newest, is_sent);
            (name.rerun, is_earlier)
        };
        assert_eq!(told(None, true), (0, false));
        assert_eq!(told(Some(&newest("available", "")), true), (1, true));
        let missing = newest("rejected", "SourceNotFound");
        assert_eq!(told(Some(&missing), true), (2, false));
        // An interrupted run that sent it does not send it again.
        assert_eq!(told(Some(&missing), false), (1, false));
        assert_eq!(
            told(Some(&newest("rejected", "InvalidRequest")), true),
            (1, true)
        );
    }

    #[test]
    fn interrupted_run_knows_what_was_sent_to_this_queue() {
        let folder = std::env::temp_dir().join(format!("clipflow-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (file, one, other) = (
            folder.join("r.jsonl"),
            Identity::of(&json!(1)),
            Identity::of(&json!(2)),
        );
        let mut journal = Journal::open(&file, "https://q").expect("a journal");
        journal.add(&[&one]).expect("it is kept");
        drop(journal);
        let again = Journal::open(&file, "https://q").expect("the journal");
        assert!(is_sent(Some(&again), &one) && !is_sent(Some(&again), &other));
        let elsewhere = Journal::open(&file, "https://other").expect("a journal");
        assert!(!is_sent(Some(&elsewhere), &one));
        elsewhere.remove().expect("it is removed");
        std::fs::remove_dir(&folder).expect("nothing is left in it");
    }
}
