//! `clipflow dlq`: dead letters.

use crate::{deployment::Deployment, failure::Failure, render, requests, when};
use aws_sdk_sqs::{
    error::ProvideErrorMetadata,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
        MessageSystemAttributeName, QueueAttributeName,
    },
};
use model::text::shorten;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use time::OffsetDateTime;

/// How long messages are hidden from other consumers while we read them, in seconds.
const LOOK_SECONDS: i32 = 60;
/// SQS answers a receive from a sample of its servers. After this many empty answers in a row, each after a long poll,
/// the queue is considered empty.
const EMPTY_ANSWERS: usize = 2;
/// Errors from SQS, or its emulator, if it cannot move messages itself.
const NO_MOVE: [&str; 3] = [
    "InvalidAction",
    "UnsupportedOperation",
    "AWS.SimpleQueueService.UnsupportedOperation",
];

/// List, show, replay or drop dead letters
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow dlq list
  clipflow dlq replay --all
  clipflow dlq drop 1c1f0a3e-6f0b-4b8e-9d0a-2b7a3f9f6a11
  clipflow dlq list --events report")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Dead letters of this function's events instead of requests
    #[arg(long, global = true, value_name = "FUNCTION")]
    events: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List dead letters
    List {
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show a dead letter in full
    Show {
        /// The message's id
        id: String,
    },
    /// Send dead letters back to the queue they came from
    Replay {
        #[command(flatten)]
        which: Which,
        /// Move at most this many a second, where SQS moves them
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=500))]
        rate: Option<i32>,
    },
    /// Delete dead letters
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which messages.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Message ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

/// Lists, shows, replays or drops messages.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let queue = DeadLetters::of(deployment, args.events.as_deref())?;
    match args.command {
        Command::List { limit } => {
            let described = queue.list(limit).await?;
            if json {
                render::json(&json!({"messages": described}));
            } else if described.is_empty() {
                eprintln!("no messages");
            } else {
                render::say(render::table(
                    &["MESSAGE", "SENT (UTC)", "PROBLEM", "BODY"],
                    &described.iter().map(row).collect::<Vec<_>>(),
                ));
            }
            Ok(())
        }
        Command::Show { id } => {
            let found = queue
                .look(usize::MAX, |message| message.message_id() == Some(&id))
                .await?;
            let message = found
                .first()
                .ok_or_else(|| Failure::not_found(format!("there is no message {id}")))?;
            if json {
                render::json(&queue.describe(message));
            } else {
                row(&queue.describe(message))
                    .iter()
                    .take(3)
                    .for_each(render::say);
                render::foreign(message.body().unwrap_or_default());
            }
            Ok(())
        }
        Command::Replay { which, rate } => {
            told("replayed", queue.replay(&which, rate).await?, json)
        }
        Command::Drop { which, yes } => {
            let what = if which.all {
                "all messages".to_owned()
            } else {
                format!("{} messages", which.ids.len())
            };
            render::confirm(&format!("Delete {what}?"), yes)?;
            told("dropped", queue.each(&which, None).await?, json)
        }
    }
}

/// The result of an action on messages.
#[derive(Debug, Default)]
pub struct Done {
    /// How many messages were handled.
    pub count: usize,
    /// The ids of those that were not found.
    pub missing: Vec<String>,
}

/// A dead-letter queue.
pub struct DeadLetters<'a> {
    deployment: &'a Deployment,
    url: &'a str,
    /// The function whose events they are; `None` for requests.
    events: Option<&'a str>,
}

impl<'a> DeadLetters<'a> {
    /// The dead-letter queue of requests, or of this function's events.
    ///
    /// # Errors
    /// Wrong usage, when it is not known.
    pub fn of(deployment: &'a Deployment, events: Option<&'a str>) -> Result<Self, Failure> {
        let url = match events {
            None => deployment.dead_letter_queue_url()?,
            Some(function) => {
                queue_of_function(&deployment.outputs.event_dead_letter_queue_urls, function)?
            }
        };
        Ok(Self {
            deployment,
            url,
            events,
        })
    }

    /// The oldest messages, described.
    pub async fn list(&self, limit: usize) -> Result<Vec<Value>, Failure> {
        let messages = self.look(limit, |_| true).await?;
        Ok(messages
            .iter()
            .map(|message| self.describe(message))
            .collect())
    }

    /// Sends messages back to their queue, at most `rate` per second if SQS moves them.
    pub async fn replay(&self, which: &Which, rate: Option<i32>) -> Result<Done, Failure> {
        // SQS moves messages back to where they came from, but some events came from EventBridge, not from a queue.
        if which.all
            && self.events.is_none()
            && let Some(count) = self.move_all(rate).await?
        {
            return Ok(Done {
                count,
                ..Done::default()
            });
        }
        let outputs = &self.deployment.outputs;
        let target = match self.events {
            None => self.deployment.queue_url()?,
            Some(function) => queue_of_function(&outputs.event_queue_urls, function)?,
        };
        self.each(which, Some(target)).await
    }

    fn describe(&self, message: &Message) -> Value {
        describe(message, self.events.is_none())
    }

    /// At most `limit` messages that pass; the queue is left unchanged.
    async fn look(
        &self,
        limit: usize,
        passes: impl Fn(&Message) -> bool,
    ) -> Result<Vec<Message>, Failure> {
        let (mut found, mut others, mut empty) = (Vec::new(), Vec::new(), 0);
        while found.len() < limit && empty < EMPTY_ANSWERS {
            let batch = self.receive().await?;
            empty = if batch.is_empty() { empty + 1 } else { 0 };
            let (passing, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(&passes);
            found.extend(passing);
            others.extend(rest);
            if limit == usize::MAX && !found.is_empty() {
                break;
            }
        }
        self.release(found.iter().chain(&others)).await?;
        found.truncate(limit);
        found.sort_by_key(sent_at);
        Ok(found)
    }

    async fn receive(&self) -> Result<Vec<Message>, Failure> {
        let receive = self
            .deployment
            .sqs
            .receive_message()
            .queue_url(self.url)
            .max_number_of_messages(10);
        let receive = receive
            .visibility_timeout(LOOK_SECONDS)
            .wait_time_seconds(1);
        let received = receive
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        Ok(received
            .map_err(Failure::of_call("receiving from the dead-letter queue"))?
            .messages
            .unwrap_or_default())
    }

    /// Makes these messages visible again at once.
    async fn release(&self, messages: impl Iterator<Item = &Message>) -> Result<(), Failure> {
        let entries: Vec<_> = messages
            .enumerate()
            .map(|(index, message)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .visibility_timeout(0);
                entry
                    .set_receipt_handle(message.receipt_handle.clone())
                    .build()
                    .expect("it has an id and a handle")
            })
            .collect();
        for batch in entries.chunks(10) {
            let change = self
                .deployment
                .sqs
                .change_message_visibility_batch()
                .queue_url(self.url);
            let changed = change.set_entries(Some(batch.to_vec())).send().await;
            changed.map_err(Failure::of_call(
                "releasing messages of the dead-letter queue",
            ))?;
        }
        Ok(())
    }

    /// Makes SQS move all messages to the queue that they came from; `None` if it cannot.
    async fn move_all(&self, rate: Option<i32>) -> Result<Option<usize>, Failure> {
        let (arn, waiting) = self.arn_and_count().await?;
        if waiting == 0 {
            return Ok(None);
        }
        let start = self
            .deployment
            .sqs
            .start_message_move_task()
            .source_arn(&arn)
            .set_max_number_of_messages_per_second(rate);
        match start.send().await {
            Ok(_) => self.watch_move(&arn, waiting).await.map(Some),
            Err(error)
                if error
                    .as_service_error()
                    .and_then(ProvideErrorMetadata::code)
                    .is_some_and(|code| NO_MOVE.contains(&code)) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::of_call("moving messages")(error)),
        }
    }

    async fn arn_and_count(&self) -> Result<(String, usize), Failure> {
        let names = [
            QueueAttributeName::QueueArn,
            QueueAttributeName::ApproximateNumberOfMessages,
        ];
        let [arn, waiting] = self
            .deployment
            .queue_attributes(self.url, names, "reading the dead-letter queue")
            .await?;
        Ok((arn, waiting.parse().unwrap_or(0)))
    }

    /// Waits until SQS has moved all messages. Returns how many.
    async fn watch_move(&self, arn: &str, waiting: usize) -> Result<usize, Failure> {
        let bar = render::bar(waiting, "replay");
        loop {
            let list = self.deployment.sqs.list_message_move_tasks();
            let tasks = list.source_arn(arn).max_results(1).send().await;
            let tasks = tasks.map_err(Failure::of_call("watching the messages move"))?;
            let Some(task) = tasks.results.unwrap_or_default().into_iter().next() else {
                return Ok(waiting);
            };
            let moved = u64::try_from(task.approximate_number_of_messages_moved).unwrap_or(0);
            bar.set_position(moved);
            match task.status.as_deref() {
                Some("RUNNING") => tokio::time::sleep(Duration::from_secs(1)).await,
                Some("COMPLETED") => return Ok(usize::try_from(moved).unwrap_or(waiting)),
                other => {
                    return Err(Failure::new(format!(
                        "moving messages ended {}: {}",
                        other.unwrap_or("unknown"),
                        task.failure_reason.unwrap_or_default()
                    )));
                }
            }
        }
    }

    /// Sends messages to `target`, if there is one, and deletes each that was sent.
    async fn each(&self, which: &Which, target: Option<&str>) -> Result<Done, Failure> {
        let mut missing = which.ids.clone();
        let (mut count, mut others, mut empty) = (0, Vec::new(), 0);
        while (which.all || !missing.is_empty()) && empty < EMPTY_ANSWERS {
            let batch = self.receive().await?;
            empty = if batch.is_empty() { empty + 1 } else { 0 };
            let id = |message: &Message| message.message_id.clone().unwrap_or_default();
            let (wanted, rest): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|message| which.all || missing.contains(&id(message)));
            if let Some(target) = target {
                for message in &wanted {
                    self.send(message, target).await?;
                }
            }
            self.delete(&wanted).await?;
            count += wanted.len();
            missing.retain(|missing| wanted.iter().all(|message| id(message) != *missing));
            others.extend(rest);
        }
        self.release(others.iter()).await?;
        Ok(Done { count, missing })
    }

    async fn send(&self, message: &Message, target: &str) -> Result<(), Failure> {
        let body = message.body().unwrap_or_default();
        let message = self.deployment.sqs.send_message().queue_url(target);
        let sent = message.message_body(body).send().await;
        sent.map(drop)
            .map_err(Failure::of_call("sending to the queue"))
    }

    async fn delete(&self, messages: &[Message]) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        let entry = |(index, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry
                .set_receipt_handle(message.receipt_handle.clone())
                .build()
                .expect("it has an id and a handle")
        };
        let entries = messages.iter().enumerate().map(entry).collect();
        let delete = self
            .deployment
            .sqs
            .delete_message_batch()
            .queue_url(self.url)
            .set_entries(Some(entries))
            .send();
        let failed = delete
            .await
            .map_err(Failure::of_call("deleting from the dead-letter queue"))?
            .failed;
        failed.first().map_or(Ok(()), |one| {
            Err(Failure::new(format!(
                "deleting from the dead-letter queue: {}",
                one.code
            )))
        })
    }
}

/// A function's queue, among the queues of all functions.
fn queue_of_function<'a>(
    urls: &'a HashMap<String, String>,
    function: &str,
) -> Result<&'a str, Failure> {
    let known = urls.keys().map(String::as_str).collect::<Vec<_>>();
    let known = known.join(", ");
    let unknown = || {
        Failure::usage(format!(
            "{function} has no event queue; these functions have one: {known}"
        ))
    };
    urls.get(function).map(String::as_str).ok_or_else(unknown)
}

fn told(verb: &str, done: Done, json: bool) -> Result<(), Failure> {
    let count = done.count;
    if json {
        render::json(&json!({verb: count}));
    } else {
        render::say(format!("{verb}: {count}"));
    }
    done.into_result()
}

impl Done {
    /// `Ok`, unless a message was not found.
    pub fn into_result(self) -> Result<(), Failure> {
        match &self.missing[..] {
            [] => Ok(()),
            missing => Err(Failure::not_found(format!(
                "there is no message {}",
                missing.join(", ")
            ))),
        }
    }
}

fn sent_at(message: &Message) -> OffsetDateTime {
    let attributes = message.attributes.as_ref();
    let sent = attributes.and_then(|all| {
        all.get(&MessageSystemAttributeName::SentTimestamp)?
            .parse::<i128>()
            .ok()
    });
    sent.and_then(|ms| OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn describe(message: &Message, is_request: bool) -> Value {
    let body = message.body().unwrap_or_default();
    let sent_at = when::rfc3339(sent_at(message));
    let mut value = json!({"messageId": message.message_id(), "sentAt": sent_at, "body": body});
    if is_request {
        value["problem"] = problem(body).into();
    }
    value
}

/// Why `start` may have given up on a message.
fn problem(body: &str) -> String {
    match serde_json::from_str(body) {
        Err(error) => format!("not JSON: {error}"),
        Ok(request) => match requests::check(&request, None) {
            Ok(_) => "none: start could not start it".to_owned(),
            Err(error) => error.message,
        },
    }
}

fn row(message: &Value) -> Vec<String> {
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    let body = text("body")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    [
        text("messageId"),
        text("sentAt"),
        text("problem"),
        &shorten(&body, 200),
    ]
    .map(render::plain)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_of_a_message_is_told() {
        assert!(problem("start: 1").starts_with("not JSON: "));
        assert!(problem(r#"{"start": -1}"#).contains("start"));
        let valid =
            json!({"source": {"bucket": "archive", "key": "k"}, "start": 1, "end": 2}).to_string();
        assert_eq!(problem(&valid), "none: start could not start it");
    }
}
