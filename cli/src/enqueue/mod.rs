//! `clipflow enqueue`: sends requests to the queue, one or thousands.

mod checked;
mod flags;
mod journal;
mod upload;

use crate::{
    deployment::Deployment,
    executions::{CONCURRENCY, Execution},
    failure::Failure,
    render,
    requests::{self, Line},
    show,
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use checked::Checked;
use clap::ValueEnum;
use flags::{Flags, Source};
use futures::{StreamExt, TryStreamExt, stream};
use journal::{Journal, is_sent};
use model::{
    execution::{ExecutionName, execution_arn},
    identity::Identity,
};
use serde_json::json;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};
use upload::Upload;

/// The most messages in a batch, and the most bytes in total (SQS developer guide, "Message quotas": 1 MiB; it was 256
/// KiB until August 2025, and still is in implementations that lag behind).
const BATCH: (usize, usize) = (10, 256 * 1024);
/// How often a message that SQS did not accept is sent.
const ATTEMPTS: u32 = 5;
/// How many executions are looked up, with one call each, before sending requests without `--wait`.
const MAX_LOOKED_UP: usize = 10;

/// Send requests to the queue
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow enqueue --source s3://surf-archive/2018-08-02.mp4 --start 1:12.5 --end 1:30 --wait
  clipflow enqueue --source surf.mp4 --start 25% --end 50% --wait
  clipflow enqueue --camera north,south --start 2018-08-02T15:40:00Z --end 2018-08-02T15:40:22Z
  clipflow enqueue request.json
  clipflow enqueue requests.csv --dry-run
  clipflow enqueue requests.csv --skip-invalid
  generate-requests | clipflow enqueue -

A file holds one JSON request, one JSON request a line (JSONL), or CSV (.csv) with one column for each field: \
clipId, source (s3://bucket/key), start, end, cut, metadata.spot, output.thumbnails. All requests are checked before \
the first is sent. It is safe to send a request again: it starts nothing, unless it was rejected because of a source, \
a recording or a limit. If a run is interrupted, the same command continues it.

A FILE as --source is uploaded to a source bucket once, under uploads/ and the hash of its content. That needs \
s3:PutObject.")]
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
    /// Send the valid requests; write the others with their errors to FILE.invalid.jsonl
    #[arg(long, conflicts_with_all = ["source", "camera"])]
    skip_invalid: bool,
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

/// What a run will send.
struct Batch {
    /// The name of the requests.
    name: String,
    checked: Checked,
    /// The file to upload first.
    upload: Option<Upload>,
}

/// Sends requests.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let file = args.file.as_deref();
    let Batch {
        name,
        checked,
        upload,
    } = Batch::of(deployment, file, args.format, args.request).await?;
    checked.accept(&name, args.skip_invalid)?;
    checked.tell_clashes(&name);
    if args.dry_run {
        tell_dry(&checked, upload.as_ref(), json);
        return Ok(());
    }
    let queue_url = deployment.queue_url()?;
    if let Some(upload) = &upload {
        upload.send(&deployment.s3).await?;
    }
    let sent = Sent::send(deployment, queue_url, file, &checked.requests, args.wait).await?;
    let skipped = match file {
        Some(file) if !checked.invalid.is_empty() => Some(checked.write_invalid(file)?),
        _ => None,
    };
    if args.wait {
        let executions = sent.executions(deployment);
        show::availability(&show::wait(deployment, &executions, json).await?)?;
    } else {
        sent.tell(&checked, json);
    }
    let Some(skipped) = skipped else {
        return Ok(());
    };
    Err(Failure::unsuccessful(format!(
        "{} invalid and not sent; {} says why",
        count(checked.invalid.len()),
        skipped.display()
    )))
}

impl Batch {
    async fn of(
        deployment: &Deployment,
        file: Option<&Path>,
        format: Option<Format>,
        flags: Flags,
    ) -> Result<Self, Failure> {
        let buckets = deployment.outputs.source_buckets.as_deref();
        if let Some(file) = file {
            return Ok(Self {
                name: file.display().to_string(),
                checked: Checked::of(read(file, format)?, buckets),
                upload: None,
            });
        }
        let upload = match &flags.source {
            Some(Source::File(path)) => {
                let bucket = flags.bucket.as_deref();
                Some(Upload::of(path, &deployment.outputs, bucket).await?)
            }
            _ => None,
        };
        let requests = flags.requests(upload.as_ref().map(Upload::object))?;
        let lines = requests.into_iter().map(|request| (0, Ok(request)));
        Ok(Self {
            name: "the request".to_owned(),
            checked: Checked::of(lines.collect(), buckets),
            upload,
        })
    }
}

fn tell_dry(checked: &Checked, upload: Option<&Upload>, json: bool) {
    let (valid, duplicates) = (checked.requests.len(), checked.duplicates);
    let invalid = checked.invalid.len();
    if json {
        render::json(
            &json!({"valid": valid, "duplicates": duplicates, "invalid": invalid,
            "clashes": checked.clashes.len(), "upload": upload.map(Upload::uri)}),
        );
        return;
    }
    if let Some(upload) = upload {
        render::say(format!("the file would be {}", upload.uri()));
    }
    let invalid = if invalid > 0 {
        format!("; {invalid} invalid")
    } else {
        String::new()
    };
    render::say(format!(
        "{} valid, {duplicates} of them written more than once{invalid}",
        count(valid + duplicates)
    ));
}

/// Sent requests.
struct Sent<'a> {
    requests: &'a [Identity],
    /// How many were sent now, and how many by an interrupted run.
    now: usize,
    before: usize,
    /// The execution of each, if known.
    names: Vec<Option<ExecutionName>>,
}

impl<'a> Sent<'a> {
    /// Sends the requests that were not sent before. With `--wait`, their executions are looked up.
    async fn send(
        deployment: &Deployment,
        queue_url: &str,
        file: Option<&Path>,
        requests: &'a [Identity],
        wait: bool,
    ) -> Result<Self, Failure> {
        let journal = file.filter(|file| *file != Path::new("-") && requests.len() > BATCH.0);
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
        // The newest execution now will be an earlier one once the request is sent.
        let newest = match newest(deployment, requests, wait).await {
            Err(failure) if wait => return Err(failure),
            // Users who may only send requests cannot see their executions.
            found => found.unwrap_or_default(),
        };
        send_all(deployment, queue_url, &unsent, journal.as_mut()).await?;
        if let Some(journal) = journal {
            journal.remove()?;
        }
        let unsent: HashSet<_> = unsent.iter().map(|request| &request.request_hash).collect();
        let (mut names, mut earlier) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let Some(newest) = newest.get(index) else {
                names.push(None);
                continue;
            };
            let is_sent = unsent.contains(&request.request_hash);
            let (name, is_earlier) = expected(request, newest.as_ref(), is_sent);
            earlier.extend(is_earlier.then(|| name.clone()));
            names.push(Some(name));
        }
        tell_earlier(&earlier);
        Ok(Self {
            requests,
            now: unsent.len(),
            before,
            names,
        })
    }

    /// The ARNs of executions that are waited for.
    fn executions(&self, deployment: &Deployment) -> Vec<String> {
        let machine = &deployment.outputs.state_machine_arn;
        let names = self.names.iter().flatten();
        names
            .map(|name| execution_arn(machine, &name.to_string()))
            .collect()
    }

    fn tell(&self, checked: &Checked, json: bool) {
        let duplicates = checked.duplicates;
        if json {
            let request = |(request, name): (&Identity, &Option<ExecutionName>)| match name {
                Some(name) => {
                    json!({"clipId": request.clip_id, "execution": name.to_string()})
                }
                None => json!({"clipId": request.clip_id}),
            };
            let requests: Vec<_> = self.requests.iter().zip(&self.names).map(request).collect();
            render::json(
                &json!({"sent": self.now, "sentBefore": self.before, "duplicates": duplicates,
                "clashes": checked.clashes.len(), "invalid": checked.invalid.len(), "requests": requests}),
            );
            return;
        }
        for (request, name) in self.requests.iter().zip(&self.names).take(BATCH.0) {
            match name {
                Some(name) => render::say(name),
                None => render::say(&request.clip_id),
            }
        }
        let twice = if duplicates > 0 {
            format!("; {duplicates} were written more than once")
        } else {
            String::new()
        };
        render::say(format!("{} sent{twice}", count(self.now)));
    }
}

/// The newest execution of each request; without `--wait`, only for the first ones.
async fn newest(
    deployment: &Deployment,
    requests: &[Identity],
    wait: bool,
) -> Result<Vec<Option<Execution>>, Failure> {
    let requests = if wait {
        requests
    } else {
        &requests[..requests.len().min(MAX_LOOKED_UP)]
    };
    let looks = requests.iter().map(async |request| {
        let first = ExecutionName::from(request);
        deployment.newest(&first).await
    });
    stream::iter(looks)
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

/// The execution that provides a request's outcome, given the newest one before it was sent, and whether it is an
/// earlier one.
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

/// Prints which requests start nothing.
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
    let text = checked::read(file)?;
    let is_csv = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    Ok(match format {
        Some(Format::Csv) => requests::read_csv(&text),
        None if is_csv => requests::read_csv(&text),
        _ => requests::read_json(&text),
    })
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

/// The requests in batches that SQS accepts.
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{
        operation::describe_execution::DescribeExecutionOutput, primitives::DateTime,
        types::ExecutionStatus,
    };
    use clap::Parser;
    use serde_json::Value;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn requests(arguments: &str) -> Vec<Value> {
        let cli = Cli::try_parse_from(arguments.split(' ')).expect("the arguments are right");
        let object = json!({"bucket": "archive", "key": "uploads/1"});
        let requests = cli.args.request.requests(Some(object));
        requests.expect("they go together")
    }

    #[test]
    fn flags_make_a_request() {
        let arguments = "c --source s3://archive/a.mp4 --start 1:12.5 --end 90 --clip-id a --metadata spot=Pipe=line --cut copy --damage reject";
        let expected = json!({"clipId": "a", "source": {"bucket": "archive", "key": "a.mp4"}, "start": "1:12.5",
            "end": "90", "cut": "copy", "damage": "reject", "metadata": {"spot": "Pipe=line"}});
        assert_eq!(requests(arguments), [expected]);
    }

    #[test]
    fn flags_make_a_request_for_a_camera_s_recordings() {
        let arguments =
            "c --camera pipe/north --start 2018-08-02T15:40:00Z --end 2018-08-02T15:40:22.5Z";
        let [request] = &requests(arguments)[..] else {
            panic!("one camera, one request");
        };
        requests::check(request, None).expect("it is valid");
    }

    #[test]
    fn several_cameras_make_one_request_each() {
        let interval = "--start 2018-08-02T15:40:00Z --end 2018-08-02T15:40:22Z";
        let made = requests(&format!("c --camera a,b/c {interval}"));
        let cameras: Vec<_> = made.iter().map(|request| &request["cameraId"]).collect();
        assert_eq!(cameras, ["a", "b/c"]);
        for request in &made {
            requests::check(request, None).expect("it is valid");
        }
        let named = format!("c --camera a,b --clip-id one {interval}");
        let cli = Cli::try_parse_from(named.split(' ')).expect("the arguments are right");
        let failure = cli
            .args
            .request
            .requests(None)
            .expect_err("one name for two clips");
        assert!(
            failure.message.starts_with("--clip-id"),
            "{}",
            failure.message
        );
        let object = "c --source s3://a/b --bucket c --start 1 --end 2";
        let cli = Cli::try_parse_from(object.split(' ')).expect("the arguments are right");
        let failure = cli.args.request.requests(None);
        let failure = failure.expect_err("nothing is uploaded");
        assert!(
            failure.message.starts_with("--bucket"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn source_that_is_no_uri_is_a_file() {
        let arguments = "c --source archive/a.mp4 --start 1 --end 2";
        let cli = Cli::try_parse_from(arguments.split(' ')).expect("the arguments are right");
        assert_eq!(
            cli.args.request.source,
            Some(Source::File("archive/a.mp4".into()))
        );
        let object = json!({"bucket": "archive", "key": "uploads/1"});
        assert_eq!(requests(arguments)[0]["source"], object);
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for arguments in [
            "c",
            "c --source s3://a/b --start 1",
            "c --source s3://archive --start 1 --end 2",
            "c --source https://archive/a.mp4 --start 1 --end 2",
            "c --camera a --bucket b --start 1 --end 2",
            "c --source s3://a/b --start 1 --end 2 --skip-invalid",
            "c r.json --start 1",
        ] {
            assert!(
                Cli::try_parse_from(arguments.split(' ')).is_err(),
                "{arguments}"
            );
        }
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
}
