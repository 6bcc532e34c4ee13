//! What is measured, and how.

use crate::{
    ARCHIVE, CLIPS, Outcome,
    http::Connection,
    lambda::{Environment, Function},
    media,
    peer::peer,
    report::Row,
    s3::{Network, Server},
    sources::{self, CONTAINERS, HEVC, KINDS, MINUTES, long, short},
    throughput::throughput,
    usage,
    window::Reader,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long the clips are, in seconds.
pub const CLIP_SECONDS: f64 = 10.0;
/// The allowance in addition to the bytes needed: 256 KiB.
const SLACK_BYTES: f64 = 262_144.0;
/// What may be read from other containers, besides one and a half times the clip: this many seconds of it, and 2 MB.
const REMUXED_SECONDS: f64 = 4.0;
const REMUXED_BYTES: f64 = 2_000_000.0;
/// How often two things are measured alternately.
pub const PAIRS: usize = 7;
/// How often a function is started.
const STARTS: usize = 15;

/// A measure.
pub struct Measure {
    pub name: &'static str,
    pub what: &'static str,
    pub take: fn(&Bench) -> Outcome<Vec<Row>>,
}

/// All measures, in the order of the table.
pub const MEASURES: [Measure; 11] = [
    Measure {
        name: "bytes",
        what: "bytes read from S3",
        take: bytes,
    },
    Measure {
        name: "copy",
        what: "the time of a copy",
        take: copy,
    },
    Measure {
        name: "exact",
        what: "the time of an exact cut",
        take: exact,
    },
    Measure {
        name: "hevc",
        what: "the time of an exact cut of HEVC",
        take: hevc,
    },
    Measure {
        name: "peer",
        what: "an exact cut against smartcut's",
        take: peer,
    },
    Measure {
        name: "throughput",
        what: "many clips at once, and the processor time of one",
        take: throughput,
    },
    Measure {
        name: "frames",
        what: "first and last frame, and the sound",
        take: frames,
    },
    Measure {
        name: "memory",
        what: "the functions' memory",
        take: memory,
    },
    Measure {
        name: "start",
        what: "the functions' start",
        take: start,
    },
    Measure {
        name: "size",
        what: "the functions' packages",
        take: size,
    },
    Measure {
        name: "transitions",
        what: "state transitions of a clip",
        take: transitions,
    },
];

/// The folders that contain everything.
#[derive(Debug)]
pub struct Bench {
    pub root: PathBuf,
    pub programs: PathBuf,
    pub folder: PathBuf,
}

impl Bench {
    /// Finds the folders, and makes missing sources.
    ///
    /// # Errors
    /// If `FFmpeg` fails.
    pub fn new(root: &Path) -> Outcome<Self> {
        let programs = std::env::current_exe()?
            .parent()
            .ok_or("the program has no folder")?
            .to_owned();
        let bench = Self {
            root: root.to_owned(),
            programs,
            folder: root.join("target/bench"),
        };
        sources::make_long(&bench.source(""))?;
        sources::make_short(&bench.source(""))?;
        Ok(bench)
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.folder.join("s3").join(ARCHIVE).join(name)
    }

    fn serve(&self, network: Network) -> Outcome<Server> {
        Ok(Server::start(&self.folder.join("s3"), network)?)
    }

    pub fn function(&self, name: &str, server: &Server) -> Outcome<Function> {
        let environment = Environment {
            programs: &self.programs,
            logs: &self.folder.join("logs"),
            s3: format!("http://{}", server.address),
        };
        Function::start(name, &environment)
    }

    /// The functions that make a clip, one after another.
    pub fn line(&self, network: Network) -> Outcome<Line> {
        let server = self.serve(network)?;
        Ok(Line {
            validate: self.function("validate", &server)?,
            probe: self.function("probe", &server)?,
            trim: self.function("trim", &server)?,
            server,
        })
    }

    /// The names of the functions that Terraform deploys.
    fn names(&self) -> Outcome<Vec<String>> {
        let folders = fs::read_dir(self.root.join("functions"))?.collect::<Result<Vec<_>, _>>()?;
        let functions = folders
            .iter()
            .filter(|folder| folder.path().join("src/main.rs").exists());
        let mut names: Vec<String> = functions
            .map(|folder| folder.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }
}

/// The functions that make a clip, and the S3 that they read and write.
pub struct Line {
    pub validate: Function,
    pub probe: Function,
    pub trim: Function,
    pub server: Server,
}

impl Line {
    /// Validates a request and probes its source; returns the event for `trim`.
    pub fn plan(&self, source: &str, start: f64, end: f64, cut: &str) -> Outcome<Value> {
        // The default is mp4, and a copy encodes nothing.
        let output = if source.starts_with("hevc") && cut == "exact" {
            json!({"format": "hevc"})
        } else {
            json!({})
        };
        let execution = json!({
            "arn": "arn:aws:states:us-east-1:000000000000:execution:clip:bench",
            "startedAt": "2026-01-01T00:00:00Z",
        });
        let request = json!({
            "clipId": format!("{cut}-{}-{start:.0}", source.replace('.', "-")),
            "source": {"bucket": ARCHIVE, "key": source},
            "start": start,
            "end": end,
            "cut": cut,
            "output": output,
        });
        let (request, _) = self
            .validate
            .invoke(&json!({"execution": execution, "request": request}))?;
        self.server.traffic();
        let (probe, _) = self
            .probe
            .invoke(&json!({"execution": execution, "request": request, "waited": false}))?;
        let engine = json!({"name": "trim", "why": "measured", "estimateUsd": 0.0});
        Ok(json!({"execution": execution, "request": request, "probe": probe, "engine": engine}))
    }

    /// Cuts a clip; returns its key and the time that `trim` took.
    fn cut(&self, event: &Value) -> Outcome<(String, Duration)> {
        let (answer, took) = self.trim.invoke(event)?;
        Ok((
            answer["clip"]["key"]
                .as_str()
                .ok_or("trim names no clip")?
                .to_owned(),
            took,
        ))
    }
}

pub fn start_of(minutes: u32) -> f64 {
    // A second after a keyframe, in the middle.
    f64::from(minutes * 30 + 1)
}

pub fn describe(minutes: u32) -> String {
    if minutes == 1 {
        "1 minute".to_owned()
    } else {
        format!("{minutes} minutes")
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
pub fn float(number: u64) -> f64 {
    number as f64
}

fn bytes(bench: &Bench) -> Outcome<Vec<Row>> {
    let line = bench.line(Network::LOOPBACK)?;
    let mut rows = Vec::new();
    for minutes in MINUTES {
        for index in ["front", "end"] {
            rows.extend(bytes_of_copy(bench, &line, minutes, index)?);
        }
    }
    rows.push(bytes_of_exact(bench, &line)?);
    for (bits, _) in HEVC {
        rows.extend(bytes_of_hevc(bench, &line, bits)?);
    }
    for (container, file, _) in CONTAINERS {
        rows.extend(bytes_of_container(bench, &line, container, file)?);
    }
    Ok(rows)
}

fn bytes_of_copy(bench: &Bench, line: &Line, minutes: u32, index: &str) -> Outcome<[Row; 2]> {
    let (name, start) = (long(minutes, index), start_of(minutes));
    let source = bench.source(&name);
    let event = line.plan(&name, start, start + CLIP_SECONDS, "copy")?;
    let (_, probed) = line.server.traffic();
    line.cut(&event)?;
    let (_, trimmed) = line.server.traffic();
    let of = format!("{} with the index at the {index}", describe(minutes));
    Ok([
        Row::new(
            format!("probe reads of {of}"),
            float(probed),
            "bytes",
            Some(most_bytes(float(index_bytes(&source)?))),
        ),
        Row::new(
            format!("trim reads of {of}"),
            float(trimmed),
            "bytes",
            Some(most_bytes(needed_bytes(&source, start)?)),
        ),
    ])
}

fn bytes_of_exact(bench: &Bench, line: &Line) -> Outcome<Row> {
    let (name, start) = (long(60, "end"), start_of(60));
    let read = bytes_of_trim(line, &name, start, "exact")?;
    Ok(Row::new(
        "trim reads of 60 minutes with the index at the end, exact",
        read,
        "bytes",
        Some(most_bytes(needed_bytes(&bench.source(&name), start)?)),
    ))
}

fn bytes_of_hevc(bench: &Bench, line: &Line, bits: u32) -> Outcome<Vec<Row>> {
    let (name, start) = (sources::hevc(bits), start_of(60));
    let source = bench.source(&name);
    // A group more: two seconds of the source.
    let group = 2.0 * float(fs::metadata(&source)?.len()) / 3600.0;
    let needed = needed_bytes(&source, start)? + group;
    let mut rows = Vec::new();
    for cut in ["copy", "exact"] {
        rows.push(Row::new(
            format!("trim reads of 60 minutes of HEVC of {bits} bits, {cut}"),
            bytes_of_trim(line, &name, start, cut)?,
            "bytes",
            Some(most_bytes(needed)),
        ));
    }
    Ok(rows)
}

fn bytes_of_container(
    bench: &Bench,
    line: &Line,
    container: &str,
    file: &str,
) -> Outcome<Vec<Row>> {
    let start = start_of(60);
    let second = float(fs::metadata(bench.source(file))?.len()) / 3600.0;
    let mut rows = Vec::new();
    for seconds in [1.0, CLIP_SECONDS] {
        let event = line.plan(file, start, start + seconds, "copy")?;
        let (_, probed) = line.server.traffic();
        let (key, _) = line.cut(&event)?;
        let (_, trimmed) = line.server.traffic();
        let clip = float(fs::metadata(bench.folder.join("s3").join(CLIPS).join(key))?.len());
        let most = 1.5 * (clip + REMUXED_SECONDS * second) + REMUXED_BYTES;
        for (function, read) in [("probe", probed), ("trim", trimmed)] {
            let what =
                format!("{function} reads for {seconds:.0} s out of 60 minutes of {container}");
            rows.push(Row::new(
                what.clone(),
                float(read),
                "bytes",
                Some(most.floor()),
            ));
            // What is read once per clip is too much for a short one.
            let limit = Some(3.0).filter(|_| seconds >= CLIP_SECONDS);
            rows.push(Row::new(
                format!("{what}, relative to the clip"),
                float(read) / clip,
                "×",
                limit,
            ));
        }
    }
    Ok(rows)
}

/// What `trim` reads of a source for a clip.
fn bytes_of_trim(line: &Line, name: &str, start: f64, cut: &str) -> Outcome<f64> {
    let event = line.plan(name, start, start + CLIP_SECONDS, cut)?;
    line.server.traffic();
    line.cut(&event)?;
    Ok(float(line.server.traffic().1))
}

/// The index of a source, and what lies in it of a clip.
fn needed_bytes(source: &Path, start: f64) -> Outcome<f64> {
    let span_bytes = media::span_bytes(source, start, CLIP_SECONDS)?;
    Ok(float(index_bytes(source)? + span_bytes))
}

/// The limit of what is read where so much is needed.
fn most_bytes(needed: f64) -> f64 {
    (1.02 * needed + SLACK_BYTES).floor()
}

/// The length of a file's `moov` box, in bytes.
fn index_bytes(file: &Path) -> Outcome<u64> {
    let mut file = File::open(file)?;
    let mut head = [0; 16];
    loop {
        file.read_exact(&mut head)?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = match word(0) {
            1 => u64::from(word(8)) << 32 | u64::from(word(12)),
            short => short.into(),
        };
        if &head[4..8] == b"moov" {
            return Ok(length);
        }
        file.seek(SeekFrom::Current(i64::try_from(length)? - 16))?;
    }
}

fn copy(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (network, limit) in [(Network::LOOPBACK, 0.3), (Network::S3_LIKE, 1.25)] {
        let line = bench.line(network)?;
        let reader = Reader::of(line.server.address)?;
        for minutes in MINUTES {
            let name = long(minutes, "front");
            let start = start_of(minutes);
            let event = line.plan(&name, start, start + CLIP_SECONDS, "copy")?;
            let of = format!("{}, {}", describe(minutes), network.name);
            let local = || bench.cut_locally(&bench.source(&name), start, COPY);
            let window = || reader.read(&event, &bench.folder.join("window.mp4"));
            let mut row = |what: &str, ratio: f64| {
                let what = format!("{what} out of {of}, relative to FFmpeg on a local file");
                rows.push(Row::new(what, ratio, "×", Some(limit)));
            };
            row("window read and written", ratio(PAIRS, window, local)?);
            if network.bytes_per_second.is_none() {
                let trimmed = ratio(PAIRS, || Ok(line.cut(&event)?.1), local)?;
                row("copy, all of trim,", trimmed);
            } else {
                rows.push(bench.against_network(&line, network, &event, &of)?);
            }
            let usual = || bench.cut_the_usual_way(&line.server, &name, start);
            let ratio = self::ratio(1, usual, || Ok(line.cut(&event)?.1))?;
            rows.push(Row::new(
                format!("download, FFmpeg, upload of {of}, relative to that copy"),
                ratio,
                "×",
                None,
            ));
        }
    }
    Ok(rows)
}

pub const COPY: &str = "-c copy";
/// The options that `trim` encodes with.
pub const ENCODE: &str = "-map 0:v:0 -map 0:a:0? -c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -c:a aac \
                      -movflags +faststart -threads 2";

impl Bench {
    /// The time of `trim` for an event, relative to the minimum that the network allows.
    fn against_network(
        &self,
        line: &Line,
        network: Network,
        event: &Value,
        of: &str,
    ) -> Outcome<Row> {
        line.server.traffic();
        let (key, _) = line.cut(event)?;
        let (_, read) = line.server.traffic();
        let clip = self.folder.join("s3").join(CLIPS).join(key);
        let least = network.least(read, fs::metadata(clip)?.len());
        let times = (0..PAIRS).map(|_| Ok(line.cut(event)?.1.as_secs_f64() / least.as_secs_f64()));
        let what = format!("copy, all of trim, out of {of}, relative to what the network allows");
        let ratio = median(times.collect::<Outcome<_>>()?);
        Ok(Row::new(what, ratio, "×", Some(1.15)))
    }

    /// The time in which `FFmpeg` cuts a clip from a local file.
    fn cut_locally(&self, source: &Path, start: f64, options: &str) -> Outcome<Duration> {
        Ok(usage::of(&mut self.cutter(source, start, options)?)?.wall)
    }

    /// The command with which `FFmpeg` cuts a clip from a local file.
    fn cutter(&self, source: &Path, start: f64, options: &str) -> Outcome<Command> {
        let (start, seconds) = (start.to_string(), CLIP_SECONDS.to_string());
        let to = self.folder.join("local.mp4");
        // Written to a new file, like the functions' clips.
        let _ = fs::remove_file(&to);
        let mut command = Command::new("ffmpeg");
        command
            .args([
                "-nostdin",
                "-v",
                "error",
                "-y",
                "-threads",
                "2",
                "-ss",
                &start,
                "-i",
                text(source)?,
            ])
            .args(["-t", &seconds])
            .args(sources::words(options))
            .arg(to);
        Ok(command)
    }

    /// The time in which an object is downloaded, and the clip cut from it and uploaded.
    fn cut_the_usual_way(&self, server: &Server, source: &str, start: f64) -> Outcome<Duration> {
        let (whole, clip) = (self.folder.join("whole.mp4"), self.folder.join("local.mp4"));
        let begun = Instant::now();
        let mut connection = Connection::open(server.address)?;
        let bytes = connection.ask("GET", &format!("{ARCHIVE}/{source}"), &mut io::empty(), 0)?;
        io::copy(&mut connection.body(bytes), &mut File::create(&whole)?)?;
        self.cut_locally(&whole, start, COPY)?;
        let mut clip = File::open(clip)?;
        let bytes = clip.metadata()?.len();
        connection.ask("PUT", &format!("{CLIPS}/usual.mp4"), &mut clip, bytes)?;
        let took = begun.elapsed();
        fs::remove_file(whole)?;
        Ok(took)
    }
}

pub fn text(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("a path is not UTF-8")?)
}

/// The ratio of the two times: the median of `pairs` pairs.
fn ratio(
    pairs: usize,
    mut one: impl FnMut() -> Outcome<Duration>,
    mut other: impl FnMut() -> Outcome<Duration>,
) -> Outcome<f64> {
    let ratios = (0..pairs).map(|_| Ok(one()?.as_secs_f64() / other()?.as_secs_f64()));
    Ok(median(ratios.collect::<Outcome<_>>()?))
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn exact(bench: &Bench) -> Outcome<Vec<Row>> {
    let line = bench.line(Network::LOOPBACK)?;
    let name = long(60, "front");
    let mut rows = Vec::new();
    // One second, and two seconds minus one frame, before a keyframe: the usual and the maximum length that is encoded.
    for (start, of) in [
        (start_of(60), "a second before a keyframe"),
        (start_of(60) - 29.0 / 30.0, "behind a keyframe"),
    ] {
        let event = line.plan(&name, start, start + CLIP_SECONDS, "exact")?;
        let local = || bench.cut_locally(&bench.source(&name), start, ENCODE);
        let ratio = ratio(PAIRS.div_ceil(2), || Ok(line.cut(&event)?.1), local)?;
        let what = format!(
            "exact out of 60 minutes from {of}, relative to encoding all of it from a local file"
        );
        rows.push(Row::new(what, ratio, "×", Some(0.25)));
    }
    Ok(rows)
}

/// The options that `trim` encodes HEVC with.
const ENCODE_HEVC: &str = "-map 0:v:0 -map 0:a:0? -c:v libx265 -preset veryfast -x265-params log-level=error -crf 24 -tag:v hvc1 \
                           -c:a aac -movflags +faststart -threads 2";

fn hevc(bench: &Bench) -> Outcome<Vec<Row>> {
    let line = bench.line(Network::LOOPBACK)?;
    let mut rows = Vec::new();
    for (bits, _) in HEVC {
        let name = sources::hevc(bits);
        let start = start_of(60);
        let event = line.plan(&name, start, start + CLIP_SECONDS, "exact")?;
        let (mut wall, mut processor) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS.div_ceil(2) {
            let before = line.trim.processor_time()?;
            let (_, took) = line.cut(&event)?;
            let ours = line.trim.processor_time()?.saturating_sub(before);
            let theirs = usage::of(&mut bench.cutter(&bench.source(&name), start, ENCODE_HEVC)?)?;
            wall.push(took.as_secs_f64() / theirs.wall.as_secs_f64());
            processor.push(ours.as_secs_f64() / theirs.processor.as_secs_f64());
        }
        for (what, ratios) in [("", wall), (", processor time", processor)] {
            let what = format!(
                "exact out of 60 minutes of HEVC of {bits} bits{what}, relative to encoding all of it from a local file"
            );
            rows.push(Row::new(what, median(ratios), "×", Some(0.25)));
        }
    }
    Ok(rows)
}

fn frames(bench: &Bench) -> Outcome<Vec<Row>> {
    let line = bench.line(Network::LOOPBACK)?;
    let mut rows = Vec::new();
    for cut in ["exact", "copy"] {
        let (mut most_off, mut most_late) = (0, 0.0_f64);
        for (kind, ..) in KINDS {
            let name = short(kind);
            let source = bench.source(&name);
            let (times, pictures) = (media::times(&source)?, media::pictures(&source)?);
            // Neither the start nor the end is at a keyframe.
            let (first, end) = (times.len() * 3 / 10 + 1, times.len() * 7 / 10 + 2);
            let event = line.plan(&name, times[first], times[end], cut)?;
            let clip = bench
                .folder
                .join("s3")
                .join(CLIPS)
                .join(line.cut(&event)?.0);
            let cut_out = media::pictures(&clip)?;
            let (Some(shown_first), Some(shown_last)) = (cut_out.first(), cut_out.last()) else {
                return Err(format!("{kind}: the clip has no frames").into());
            };
            let off = first.abs_diff(media::nearest(shown_first, &pictures))
                + (end - 1).abs_diff(media::nearest(shown_last, &pictures))
                + (end - first).abs_diff(cut_out.len());
            let late = if kind == "no sound" {
                0.0
            } else {
                let lag =
                    media::lag_ms(&media::sound(&source)?, &media::sound(&clip)?, times[first]);
                lag.ok_or_else(|| format!("{kind}: the clip's sound is too short"))?
            };
            eprintln!("  {cut}, {kind}: {off} frames off, sound {late:.1} ms late");
            most_off = most_off.max(off);
            most_late = most_late.max(late.abs());
        }
        let of = format!("{cut}, the worst of {} kinds of source", KINDS.len());
        rows.push(Row::new(
            format!("frames off, {of}"),
            float(most_off as u64),
            "frames",
            Some(0.0),
        ));
        rows.push(Row::new(
            format!("picture against sound, {of}"),
            most_late,
            "ms",
            Some(5.0),
        ));
    }
    Ok(rows)
}

fn memory(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (seconds, cut) in [
        (CLIP_SECONDS, "copy"),
        (600.0, "copy"),
        (CLIP_SECONDS, "exact"),
    ] {
        let line = bench.line(Network::LOOPBACK)?;
        let start = start_of(60);
        let event = line.plan(&long(60, "end"), start, start + seconds, cut)?;
        line.cut(&event)?;
        let mut row = |function: &Function, what: String| -> Outcome<()> {
            let mib = float(function.peak_memory_bytes()?) / 1_048_576.0;
            rows.push(Row::new(
                format!("memory of {what}"),
                mib,
                "MiB",
                Some(64.0),
            ));
            Ok(())
        };
        row(
            &line.trim,
            format!("trim, {cut} of {seconds:.0} s out of 60 minutes"),
        )?;
        if cut == "exact" {
            row(&line.probe, "probe, 60 minutes".to_owned())?;
        }
    }
    Ok(rows)
}

fn start(bench: &Bench) -> Outcome<Vec<Row>> {
    let server = bench.serve(Network::LOOPBACK)?;
    let row = |name: String| {
        let starts =
            (0..STARTS).map(|_| Ok(bench.function(&name, &server)?.start.as_secs_f64() * 1000.0));
        Ok(Row::new(
            format!("{name}, from start to first poll"),
            median(starts.collect::<Outcome<_>>()?),
            "ms",
            Some(15.0),
        ))
    };
    bench.names()?.into_iter().map(row).collect()
}

fn size(bench: &Bench) -> Outcome<Vec<Row>> {
    let row = |name: String| {
        let package = bench.root.join(format!("target/lambda/{name}.zip"));
        let bytes = fs::metadata(&package)
            .map_err(|error| format!("{}: {error}", package.display()))?
            .len();
        Ok(Row::new(
            format!("{name}, zip"),
            float(bytes) / 1_048_576.0,
            "MiB",
            Some(6.0),
        ))
    };
    bench.names()?.into_iter().map(row).collect()
}

/// Follows the definition from its first state to its last, through the default of every choice.
fn transitions(bench: &Bench) -> Outcome<Vec<Row>> {
    let definition: Value =
        serde_json::from_slice(&fs::read(bench.root.join("statemachine/clip.asl.json"))?)?;
    let mut state = definition["StartAt"].as_str();
    let mut entered = 0;
    while let Some(name) = state {
        entered += 1;
        let definition = &definition["States"][name];
        state = definition["Next"]
            .as_str()
            .or_else(|| definition["Default"].as_str());
    }
    Ok(vec![Row::new(
        "state transitions of an accepted clip",
        float(entered),
        "transitions",
        Some(9.0),
    )])
}
