//! A short run of `make hostile`: hostile files and requests end as they must.

use hostile::{
    bombs,
    canary::{self, Bait, Canary},
    cases,
    judge::{self, REJECTION_TIME, Verdict},
    media::Media,
    requests,
    worker::Said,
};
use model::{
    ErrorKind,
    identity::Identity,
    outcome::Execution,
    request::{Format, Limits},
    sent,
};
use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// The same in every run; `make hostile` uses others.
const SEED: u64 = 19;
/// How many files are mutated.
const MUTATIONS: usize = 44;
/// Every how-manieth of the files that are always the same is tried here; `make hostile` tries all.
const EACH: usize = 6;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hostile"))
}

#[test]
fn hostile_files_are_cut_or_rejected_and_reach_nothing() {
    let media = Media::make();
    let canary = Canary::new(&media.silent);
    let all = cases(&media, &canary.bait, SEED, MUTATIONS);
    let fixed = all.len() - MUTATIONS;
    assert!(fixed >= 298, "{fixed} files");
    let is_tried = |index: &usize| *index >= fixed || index.is_multiple_of(EACH);
    let indexed = all.into_iter().enumerate();
    let tried: Vec<_> = indexed
        .filter(|(index, _)| is_tried(index))
        .map(|(_, case)| case)
        .collect();
    let processes = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let verdicts = judge::run(program(), &tried, processes, |_| ());
    assert_eq!(verdicts.len(), 2 * tried.len());
    let faults: Vec<_> = verdicts
        .iter()
        .filter(|verdict| !verdict.faults.is_empty())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(canary.visits(), 0);
    let is_made = |verdict: &&Verdict| matches!(verdict.said, Some(Said::Delivered { .. }));
    let made = verdicts.iter().filter(is_made).count();
    assert!(
        made > 20 && made < verdicts.len() / 2,
        "{made} clips are made"
    );
}

#[test]
fn fragmented_file_that_claims_80_million_samples_ends_soon_and_takes_little() {
    let media = Media::make();
    let mut claims = bombs::cases(&media);
    claims.retain(|case| case.name.ends_with("80 million samples in fragments"));
    assert_eq!(claims[0].file.len(), 106_000);
    let verdicts = judge::run(program(), &claims, 1, |_| ());
    for Verdict {
        name,
        said,
        took,
        peaks,
        faults,
    } in verdicts
    {
        assert!(
            matches!(said, Some(Said::Raised { .. })) && faults.is_empty(),
            "{name}: {said:?}, {faults:?}"
        );
        let most_mb = peaks.values().max().copied().unwrap_or(0) >> 20;
        assert!(
            took < Duration::from_secs(2) && most_mb < 300,
            "{name}: {took:?}, {most_mb} MB"
        );
    }
}

#[test]
fn canary_counts_and_tells_what_a_program_does_that_is_not_held() {
    let media = Media::make();
    let canary = Canary::new(&media.silent);
    let Bait { address, video, .. } = &canary.bait;
    let folder = tempfile::tempdir().expect("a folder");
    let playlist = |name: &str, url: &str| {
        let text = format!("ffconcat version 1.0\nfile '{url}'\n");
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    playlist("address.mp4", &format!("http://{address}/canary.ts"));
    playlist("file.mp4", &video.display().to_string());
    let ffmpeg = |name: &str| {
        let allowed = [
            "-protocol_whitelist",
            "file,http,tcp",
            "-f",
            "concat",
            "-safe",
            "0",
            "-rw_timeout",
            "200000",
        ];
        let command = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error"])
            .args(allowed)
            .args([
                "-i",
                name,
                "-c",
                "copy",
                "-f",
                "mp4",
                "-movflags",
                "frag_keyframe",
                "-",
            ])
            .current_dir(folder.path())
            .output();
        command.expect("ffmpeg").stdout
    };
    ffmpeg("address.mp4");
    assert!(canary.visits() > 0);
    assert!(canary::is_told(&ffmpeg("file.mp4")));
    assert!(!canary::is_told(&media.silent));
}

#[tokio::test]
async fn hostile_requests_are_handed_on_or_refused_by_name_within_seconds() {
    let requests = requests::all("hostile", "sources", "a.mp4");
    assert!(requests.len() >= 89, "{} requests", requests.len());
    let limits = Limits {
        source_buckets: vec!["sources".to_owned()],
        default_format: Format::Mp4,
    };
    let deps = validate::Deps { limits };
    for request in requests {
        let begun = Instant::now();
        let name = &request.name;
        assert!(
            request.body.len() <= 1 << 20,
            "{name} is longer than SQS takes"
        );
        let read = sent::read(&request.body);
        assert_eq!(read.is_ok(), request.is_json, "{name}: {read:?}");
        let Ok(read) = read else { continue };
        sent::check(&Identity::of(&read).canonical).expect("every step can hand it on");
        let execution = Execution {
            arn: "arn:e".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
        };
        let input = validate::Input {
            execution,
            request: read,
        };
        if let Err(error) = validate::handle(&deps, input).await {
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{name}: {error}");
        }
        assert!(
            begun.elapsed() < REJECTION_TIME,
            "{name}: {:?}",
            begun.elapsed()
        );
    }
}
