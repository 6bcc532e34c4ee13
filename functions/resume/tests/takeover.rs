//! A job that waits in its queue for longer than the task that submitted it, and longer than a
//! rerun.

use aws_sdk_mediaconvert::{
    operation::{
        create_job::CreateJobOutput, get_job::GetJobOutput, search_jobs::SearchJobsOutput,
    },
    types::{Job, JobStatus},
};
use aws_sdk_s3::{
    config::http::HttpResponse,
    operation::{
        get_object::GetObjectOutput, head_object::HeadObjectOutput, put_object::PutObjectOutput,
    },
    primitives::ByteStream,
};
use aws_sdk_sfn::operation::{
    send_task_heartbeat::SendTaskHeartbeatOutput, send_task_success::SendTaskSuccessOutput,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// The state of the fake services.
#[derive(Debug, Default)]
struct World {
    /// The metadata of the submitted jobs; all of them are queued.
    jobs: Vec<HashMap<String, String>>,
    /// The objects that were put.
    objects: HashMap<String, Vec<u8>>,
    /// What tasks were sent, with their tokens.
    told: Vec<(String, &'static str)>,
}

#[derive(Debug, Clone, Default)]
struct Services(Arc<Mutex<World>>);

impl Services {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no panic")
    }

    fn waiting_jobs(&self) -> Vec<Job> {
        let world = self.world();
        let jobs = world.jobs.iter().enumerate().map(|(number, metadata)| {
            Job::builder()
                .id(format!("job-{number}"))
                .status(JobStatus::Submitted)
                .set_user_metadata(Some(metadata.clone()))
                .build()
        });
        jobs.collect()
    }

    fn mediaconvert(&self) -> aws_sdk_mediaconvert::Client {
        let (search, look, create) = (self.clone(), self.clone(), self.clone());
        let search =
            mock!(aws_sdk_mediaconvert::Client::search_jobs).then_compute_output(move |_| {
                let jobs = Some(search.waiting_jobs());
                SearchJobsOutput::builder().set_jobs(jobs).build()
            });
        let look = mock!(aws_sdk_mediaconvert::Client::get_job).then_compute_output(move |get| {
            let mut jobs = look.waiting_jobs().into_iter();
            let job = jobs.find(|job| job.id() == get.id());
            GetJobOutput::builder().set_job(job).build()
        });
        let create =
            mock!(aws_sdk_mediaconvert::Client::create_job).then_compute_output(move |job| {
                let metadata = job.user_metadata().expect("metadata").clone();
                create.world().jobs.push(metadata);
                let job = create.waiting_jobs().pop();
                CreateJobOutput::builder().set_job(job).build()
            });
        mock_client!(
            aws_sdk_mediaconvert,
            RuleMode::MatchAny,
            [&search, &look, &create]
        )
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let (put, has, read) = (self.clone(), self.clone(), self.clone());
        let put = mock!(aws_sdk_s3::Client::put_object).then_compute_output(move |object| {
            let key = object.key().expect("a key").to_owned();
            let body = object.body().bytes().expect("it is in memory").to_vec();
            put.world().objects.insert(key, body);
            PutObjectOutput::builder().build()
        });
        let stored = mock!(aws_sdk_s3::Client::get_object)
            .match_requests(move |get| has.world().objects.contains_key(get.key().expect("a key")))
            .then_compute_output(move |get| {
                let body = read.world().objects[get.key().expect("a key")].clone();
                GetObjectOutput::builder()
                    .body(ByteStream::from(body))
                    .build()
            });
        let source = mock!(aws_sdk_s3::Client::get_object)
            .match_requests(|get| get.bucket() == Some("archive"))
            .then_output(|| {
                let body = ByteStream::from_static(b"x");
                GetObjectOutput::builder().body(body).build()
            });
        let absent = mock!(aws_sdk_s3::Client::get_object).then_http_response(|| {
            let body = "<Error><Code>NoSuchKey</Code></Error>";
            HttpResponse::new(404.try_into().expect("a status"), body.into())
        });
        let clip = mock!(aws_sdk_s3::Client::head_object)
            .then_output(|| HeadObjectOutput::builder().content_length(7).build());
        let rules = [&put, &stored, &source, &absent, &clip];
        mock_client!(aws_sdk_s3, RuleMode::MatchAny, rules)
    }

    fn sfn(&self) -> aws_sdk_sfn::Client {
        let (alive, done) = (self.clone(), self.clone());
        let told = |services: &Services, token: Option<&str>, what| {
            let token = token.expect("a token").to_owned();
            services.world().told.push((token, what));
        };
        let alive: Rule =
            mock!(aws_sdk_sfn::Client::send_task_heartbeat).then_compute_output(move |send| {
                told(&alive, send.task_token(), "alive");
                SendTaskHeartbeatOutput::builder().build()
            });
        let done = mock!(aws_sdk_sfn::Client::send_task_success).then_compute_output(move |send| {
            told(&done, send.task_token(), "done");
            SendTaskSuccessOutput::builder().build()
        });
        mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [&alive, &done])
    }

    /// The state `Transcode` begins an attempt that waits with `token`.
    async fn transcode(&self, execution: &str, token: &str) -> transcode::Output {
        let deps = transcode::Deps {
            mediaconvert: self.mediaconvert(),
            s3: self.s3(),
            sfn: self.sfn(),
            bucket: "clips".into(),
            max_cost_usd: 5.0,
            deployment: "surf".into(),
            role_arn: "arn:role".into(),
            queue_arn: "arn:queue".into(),
            version: "3".into(),
        };
        let submitted = transcode::handle(&deps, input(execution, token)).await;
        submitted.expect("a job")
    }

    /// `MediaConvert` sends an event about its first job.
    async fn event(&self, mut detail: Value) {
        let deps = resume::Deps {
            s3: self.s3(),
            sfn: self.sfn(),
            bucket: "clips".into(),
        };
        detail["jobId"] = json!("job-0");
        detail["userMetadata"] = json!(self.world().jobs[0]);
        let event = model::parse(json!({ "detail": detail })).expect("an event");
        resume::handle(&deps, event).await.expect("it is told");
    }
}

fn input(execution: &str, token: &str) -> transcode::Input {
    let video = json!({"codec": "h264", "codedWidth": 640, "codedHeight": 360, "width": 640, "height": 360,
        "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000, "frames": 300,
        "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1000});
    let facts = json!({"container": "isom", "bytes": 10000, "indexStart": 0, "indexBytes": 100,
        "durationSeconds": 10.0, "video": video, "audio": null, "droppedTracks": []});
    let window = json!({"startSeconds": 1.0, "endSeconds": 2.0, "durationSeconds": 1.0, "frames": 30,
        "prerollFrames": 0, "keyframeSeconds": 1.0, "nextKeyframeSeconds": null, "hasAudio": false,
        "timescale": 30000, "outputBytes": 1000, "sourceBytes": 900});
    let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "\"e\"", "bytes": 10000});
    let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact", "thumbnails": [],
        "metadata": {}});
    let input = json!({"execution": {"arn": execution, "startedAt": "2026-01-01T00:00:00Z"}, "request": request,
        "probe": {"sources": [{"object": object, "facts": facts}], "segments": [{"source": 0, "window": window}]},
        "engine": {"name": "transcode", "why": "long", "estimateUsd": 0.1}, "taskToken": token});
    model::parse(input).expect("an input")
}

#[tokio::test]
async fn job_that_outlives_two_reruns_completes_the_third() {
    let services = Services::default();
    for (execution, token) in [
        ("arn:a", "first"),
        ("arn:a-r1", "second"),
        ("arn:a-r2", "third"),
        // The last one is a redrive.
        ("arn:a-r2", "fourth"),
    ] {
        let output = services.transcode(execution, token).await;
        assert_eq!(output.job_id, "job-0", "{token}");
    }
    assert_eq!(services.world().jobs.len(), 1, "it is submitted once");
    services.event(json!({"status": "PROGRESSING"})).await;
    let output = json!({"outputFilePaths": ["s3://clips/clips/a/b/clip.mp4"]});
    let complete =
        json!({"status": "COMPLETE", "outputGroupDetails": [{"outputDetails": [output]}]});
    services.event(complete).await;
    let told = ["alive", "done"].map(|what| ("fourth".to_owned(), what));
    assert_eq!(services.world().told, told);
}
