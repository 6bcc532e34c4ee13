//! The process in which the functions run: it takes one file after the other, and reports the result of each.

use crate::{canary, store::Store};
use ffmpeg::{memory::Memory, process::Ffmpeg};
use model::{
    ClipError,
    request::{Format, Limits},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    io::{BufRead, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

const SOURCES: &str = "sources";
const CLIPS: &str = "clips";
/// Terraform's default.
const SCRATCH_BYTES: u64 = 2048 << 20;
const TRIM_TIME: Duration = Duration::from_mins(15);

/// A function of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Validate,
    Probe,
    Trim,
    Verify,
    Thumbnail,
}

impl Step {
    /// Its memory in MB, by Terraform's default.
    fn memory_mb(self) -> u32 {
        match self {
            Self::Validate => 256,
            Self::Probe => 1024,
            Self::Trim => 3008,
            Self::Verify | Self::Thumbnail => 1769,
        }
    }

    /// Its memory, in bytes.
    #[must_use]
    pub fn memory_bytes(self) -> u64 {
        u64::from(self.memory_mb()) << 20
    }

    fn ffmpeg(self) -> Result<Ffmpeg, ClipError> {
        Ok(Ffmpeg::find()?.within(Memory::of_function(self.memory_mb())))
    }
}

/// A file to cut.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub file: PathBuf,
    pub key: String,
    /// The request without its source.
    pub request: Value,
}

/// The worker's messages, one per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// A step begins.
    Begun(Step),
    /// The clip and its pictures were made; `told` lists those that contain the canary's content.
    Delivered { told: Vec<String> },
    /// `MediaConvert` has to make it, for this reason.
    HandedOver(String),
    /// A step raised this error.
    Raised { error: String, message: String },
}

/// Works until the input ends.
///
/// # Panics
/// If the input is not a job.
pub fn work() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line.expect("a line")).expect("a job");
        say(&runtime.block_on(Box::pin(cut(&job))));
    }
}

fn say(said: &Said) {
    let line = serde_json::to_string(said).expect("JSON");
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .expect("somebody listens");
}

async fn cut(job: &Job) -> Said {
    let store = Store::default();
    let file = std::fs::read(&job.file).expect("the file");
    store.put(format!("{SOURCES}/{}", job.key), file);
    match Box::pin(make(job, &store)).await {
        Ok(Some(why)) => Said::HandedOver(why),
        Ok(None) => Said::Delivered { told: told(&store) },
        Err(ClipError { kind, message }) => Said::Raised {
            error: kind.name().to_owned(),
            message,
        },
    }
}

/// The objects in the clips bucket that contain the canary's content.
fn told(store: &Store) -> Vec<String> {
    let content = store.content().into_iter();
    let made = content.filter(|(name, _)| name.starts_with(CLIPS));
    let told = made.filter(|(_, content)| canary::is_told(content));
    told.map(|(name, _)| name).collect()
}

/// Makes the clip like the state machine. Returns why `MediaConvert` has to make it, if it has to.
async fn make(job: &Job, store: &Store) -> Result<Option<String>, ClipError> {
    let s3 = store.client();
    let execution = json!({"arn": "arn:hostile", "startedAt": "2026-01-01T00:00:00Z"});
    let mut request = job.request.clone();
    request["source"] = json!({"bucket": SOURCES, "key": job.key});

    say(&Said::Begun(Step::Validate));
    let deps = validate::Deps {
        limits: Limits {
            source_buckets: vec![SOURCES.to_owned()],
            default_format: Format::Mp4,
        },
    };
    let input = json!({"execution": execution, "request": request});
    let request = value(validate::handle(&deps, input_of(input)?).await?);

    say(&Said::Begun(Step::Probe));
    let input = json!({"execution": execution, "request": request, "waited": false});
    let planned = probe::handle(&probe_deps(&s3)?, input_of(input)?).await?;
    let (engine, plan) = (planned.engine.clone(), value(planned));
    if engine.name == model::outcome::EngineName::Transcode {
        return Ok(Some(engine.why));
    }

    say(&Said::Begun(Step::Trim));
    let deps = trim::Deps {
        s3: s3.clone(),
        bucket: CLIPS.to_owned(),
        scratch_bytes: SCRATCH_BYTES,
        ffmpeg: Step::Trim.ffmpeg()?,
        version: "1".to_owned(),
    };
    let input =
        json!({"execution": execution, "request": request, "probe": plan, "engine": engine});
    let made = match trim::handle(&deps, input_of(input)?, SystemTime::now() + TRIM_TIME).await {
        // As in the state machine's definition.
        Err(error) if error.kind == model::ErrorKind::TrimBudgetExceeded => {
            return Ok(Some(error.message));
        }
        made => value(made?),
    };

    let made = json!({"execution": execution, "request": request, "probe": plan, "clip": made["clip"],
        "engine": made["engine"]});
    finish(&s3, made).await?;
    Ok(None)
}

/// Verifies a clip, and makes its pictures. `made` is the input of `verify`.
async fn finish(s3: &aws_sdk_s3::Client, mut made: Value) -> Result<(), ClipError> {
    say(&Said::Begun(Step::Verify));
    let deps = verify::Deps {
        s3: s3.clone(),
        bucket: CLIPS.to_owned(),
        scratch_bytes: SCRATCH_BYTES,
        ffmpeg: Step::Verify.ffmpeg()?,
    };
    made["delivered"] = value(verify::handle(&deps, input_of(made.clone())?).await?);

    say(&Said::Begun(Step::Thumbnail));
    let deps = thumbnail::Deps {
        s3: s3.clone(),
        bucket: CLIPS.to_owned(),
        scratch_bytes: SCRATCH_BYTES,
        ffmpeg: Step::Thumbnail.ffmpeg()?,
    };
    thumbnail::handle(&deps, input_of(made)?).await?;
    Ok(())
}

fn probe_deps(s3: &aws_sdk_s3::Client) -> Result<probe::Deps, ClipError> {
    Ok(probe::Deps {
        s3: s3.clone(),
        max_clip_seconds: 10_800.0,
        max_cost_usd: 5.0,
        trim_memory_mb: 3008,
        max_trim_seconds: 600.0,
        trim_timeout_seconds: TRIM_TIME.as_secs_f64(),
        hevc_smart_cuts: true,
        recordings: None,
        ffmpeg: Step::Probe.ffmpeg()?,
        scratch_bytes: SCRATCH_BYTES,
        max_whole_source_bytes: 500 << 20,
    })
}

/// A state's input, as the function reads it.
fn input_of<T: DeserializeOwned>(input: Value) -> Result<T, ClipError> {
    model::parse(input)
}

/// A function's output, as the state machine stores it.
fn value(output: impl Serialize) -> Value {
    serde_json::to_value(output).expect("JSON")
}
