//! The messages waiting in the deployment's queues, and for how long.

use crate::{deployment::Deployment, failure::Failure};
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy},
};
use aws_sdk_sqs::types::QueueAttributeName;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// SQS reports a queue's metrics every minute, and for a queue that was idle for hours, after up to 15 minutes (SQS
/// developer guide, "Monitoring Amazon SQS queues using `CloudWatch`").
const RECENT: Duration = Duration::minutes(15);

/// A queue and its waiting messages.
#[derive(Debug)]
pub struct Queue {
    pub name: String,
    pub url: String,
    pub is_dead_letters: bool,
    pub waiting: u64,
    pub in_flight: u64,
    /// The age of its oldest message, if `CloudWatch` has it.
    pub oldest_seconds: Option<f64>,
}

/// All queues of the deployment.
pub async fn all(deployment: &Deployment, now: OffsetDateTime) -> Result<Vec<Queue>, Failure> {
    let mut queues = named(deployment);
    let counts = queues.iter_mut().map(|queue| count(deployment, queue));
    futures::future::try_join_all(counts).await?;
    let ages = ages(deployment, &queues, now).await;
    for (queue, age) in queues.iter_mut().zip(ages) {
        queue.oldest_seconds = age.filter(|_| queue.waiting + queue.in_flight > 0);
    }
    Ok(queues)
}

fn named(deployment: &Deployment) -> Vec<Queue> {
    let outputs = &deployment.outputs;
    let mut urls: Vec<(String, &str, bool)> = Vec::new();
    if let Ok(url) = deployment.queue_url() {
        urls.push(("Requests".to_owned(), url, false));
    }
    if let Ok(url) = deployment.dead_letter_queue_url() {
        urls.push(("Dead letters of requests".to_owned(), url, true));
    }
    for (name, by_function, is_dead_letters) in [
        ("Events of", &outputs.event_queue_urls, false),
        (
            "Dead letters of",
            &outputs.event_dead_letter_queue_urls,
            true,
        ),
    ] {
        for (function, url) in by_function.iter().collect::<BTreeMap<_, _>>() {
            urls.push((format!("{name} {function}"), url, is_dead_letters));
        }
    }
    let queue = |(name, url, is_dead_letters): (String, &str, bool)| Queue {
        name,
        url: url.to_owned(),
        is_dead_letters,
        waiting: 0,
        in_flight: 0,
        oldest_seconds: None,
    };
    urls.into_iter().map(queue).collect()
}

async fn count(deployment: &Deployment, queue: &mut Queue) -> Result<(), Failure> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let values = deployment
        .queue_attributes(&queue.url, names, "reading a queue")
        .await?;
    let [waiting, delayed, in_flight] = values.map(|value| value.parse::<u64>().unwrap_or(0));
    queue.waiting = waiting + delayed;
    queue.in_flight = in_flight;
    Ok(())
}

/// The age of each queue's oldest message, in seconds. `None` if `CloudWatch` has none or may not be read: the other
/// numbers do not depend on it.
async fn ages(deployment: &Deployment, queues: &[Queue], now: OffsetDateTime) -> Vec<Option<f64>> {
    let queries = queues.iter().enumerate().map(|(place, queue)| {
        let dimension = Dimension::builder()
            .name("QueueName")
            .value(queue.url.rsplit('/').next().unwrap_or_default());
        let metric = Metric::builder()
            .namespace("AWS/SQS")
            .metric_name("ApproximateAgeOfOldestMessage")
            .dimensions(dimension.build());
        let stat = MetricStat::builder()
            .metric(metric.build())
            .period(60)
            .stat("Maximum");
        MetricDataQuery::builder()
            .id(format!("q{place}"))
            .metric_stat(stat.build())
            .build()
    });
    let seconds = |at: OffsetDateTime| DateTime::from_secs(at.unix_timestamp());
    let get = deployment
        .cloudwatch
        .get_metric_data()
        .set_metric_data_queries(Some(queries.collect()))
        .start_time(seconds(now - RECENT))
        .end_time(seconds(now + Duration::MINUTE))
        .scan_by(ScanBy::TimestampDescending);
    let found = get.send().await.ok();
    let results = found.and_then(|found| found.metric_data_results);
    let results = results.unwrap_or_default();
    let newest = |place: usize| {
        let id = format!("q{place}");
        let result = results.iter().find(|one| one.id() == Some(&id))?;
        result.values().first().copied()
    };
    (0..queues.len()).map(newest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executions::deployment_with;
    use aws_sdk_cloudwatch::{
        error::ErrorMetadata,
        operation::get_metric_data::{GetMetricDataError, GetMetricDataOutput},
        types::MetricDataResult,
    };
    use aws_smithy_mocks::{Rule, mock, mock_client};

    async fn oldest(rule: &Rule) -> Vec<Option<f64>> {
        let sfn = aws_sdk_sfn::Config::builder().behavior_version_latest();
        let mut deployment = deployment_with(aws_sdk_sfn::Client::from_conf(sfn.build()));
        deployment.cloudwatch = mock_client!(aws_sdk_cloudwatch, [rule]);
        let queue = |name: &str| Queue {
            name: name.to_owned(),
            url: format!("https://sqs.eu-west-1.amazonaws.com/1/{name}"),
            is_dead_letters: false,
            waiting: 1,
            in_flight: 0,
            oldest_seconds: None,
        };
        let queues = [queue("clips"), queue("clips-dead")];
        ages(&deployment, &queues, OffsetDateTime::UNIX_EPOCH).await
    }

    #[tokio::test]
    async fn oldest_message_is_the_newest_value_of_its_own_queue() {
        let rule = mock!(aws_sdk_cloudwatch::Client::get_metric_data)
            .match_requests(|get| {
                let name = |query: &MetricDataQuery| {
                    let metric = query.metric_stat()?.metric()?;
                    Some(metric.dimensions().first()?.value()?.to_owned())
                };
                let names: Vec<_> = get.metric_data_queries().iter().map(name).collect();
                names == [Some("clips".to_owned()), Some("clips-dead".to_owned())]
            })
            .then_output(|| {
                let result = MetricDataResult::builder()
                    .id("q1")
                    .values(90.0)
                    .values(30.0);
                GetMetricDataOutput::builder()
                    .metric_data_results(result.build())
                    .build()
            });
        assert_eq!(oldest(&rule).await, [None, Some(90.0)]);
    }

    #[tokio::test]
    async fn queues_are_counted_where_cloudwatch_may_not_be_read() {
        let rule = mock!(aws_sdk_cloudwatch::Client::get_metric_data).then_error(|| {
            let error = ErrorMetadata::builder().code("AccessDenied").build();
            GetMetricDataError::generic(error)
        });
        assert_eq!(oldest(&rule).await, [None, None]);
    }
}
