//! Runs `FFmpeg`: with an argument list and never a shell, with no environment, bounded in time and space, and with no
//! network except the one loopback URL that an input may name. If the kernel supports it, [a cage](crate::cage)
//! enforces that.
//!
//! Without these limits, some runs would never end: `-err_detect explode` on some files with one bad NAL length, and
//! the filter `tpad=stop=-1` once one of several outputs is complete.

use crate::{
    cage::{self, Cage},
    decoded::Decoded,
    log::{self, Said},
    memory::Memory,
    range_server::RangeServer,
};
use model::error::{ClipError, ErrorKind};
use rustix::process::{Pid, Resource, Signal, kill_process_group};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

/// Options that come first: quiet, non-interactive, and stopping at the first error.
const COMMON: [&str; 6] = ["-nostdin", "-hide_banner", "-v", "error", "-y", "-xerror"];
/// The protocols for reading an input: a file in the folder, or a source served by [`RangeServer`].
const FILE_PROTOCOLS: &str = "file,pipe";
const LOOPBACK_PROTOCOLS: &str = "http,tcp";
/// The largest picture that is decoded, in pixels: 8192 x 8192.
const MAX_PIXELS: &str = "67108864";
/// How decoded pictures are cropped: as their codec says, like players do, and not to the container's clean aperture.
const CROPPING: &str = "codec";
/// Options that ignore the edit list of an MP4.
pub(crate) const UNEDITED: [&str; 2] = ["-ignore_editlist", "1"];
/// The most streams that are inspected.
const MAX_STREAMS: &str = "64";
/// The longest answer of `ffprobe`, in bytes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// Memory that comes with one vCPU, in MB (Lambda developer guide, "Configure Lambda function memory").
const MB_PER_VCPU: u32 = 1769;

/// The oldest version that is known to work; 5.1 has no `-enc_time_base demux`.
const OLDEST: (u32, u32) = (7, 0);
/// The first version that crops pictures to the container's aperture, with an option to turn that off.
const CROPS_CONTAINERS: (u32, u32) = (7, 1);
/// How much CPU time `ffprobe` may take to describe a source, in seconds; it usually takes a tenth of one.
const DESCRIPTION_PROCESSOR_SECONDS: u64 = 3;
/// How long a program may take to print its version.
const VERSION_TIME: Duration = Duration::from_secs(30);

/// An `ffmpeg`, and the `ffprobe` beside it.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    /// Where it is, or the error to raise if it is needed but missing.
    program: Result<PathBuf, ClipError>,
    threads: u32,
    version: (u32, u32),
    encoded_microseconds: Option<Arc<AtomicU64>>,
    memory: Memory,
    /// Whether it runs in a cage.
    is_caged: bool,
}

/// A file that is read. The demuxer is pinned: otherwise a playlist named like a video would make `FFmpeg` open what it
/// lists.
#[derive(Debug, Clone)]
pub struct Input {
    /// The demuxer.
    pub demuxer: &'static str,
    /// Its options.
    pub options: Vec<String>,
    /// The file's name in the run's folder, or a URL.
    pub file: String,
    protocols: &'static str,
    /// The loopback port that it is read from.
    port: Option<u16>,
    /// Whether pictures are cropped as their codec says.
    is_cropped: bool,
    /// Whether several threads decode it.
    is_parallel: bool,
}

impl Input {
    /// An MP4 file.
    #[must_use]
    pub fn mp4(file: impl Into<String>) -> Self {
        Self::file("mov", Vec::new(), file)
    }

    /// A `WebM` file.
    #[must_use]
    pub fn webm(file: impl Into<String>) -> Self {
        Self::file("matroska", Vec::new(), file)
    }

    /// A PNG image.
    #[must_use]
    pub fn png(file: impl Into<String>) -> Self {
        Self::file("png_pipe", Vec::new(), file)
    }

    /// One picture as raw RGBA pixels.
    #[must_use]
    pub fn pixels(file: impl Into<String>, width: u32, height: u32) -> Self {
        let options = [
            "-pixel_format",
            "rgba",
            "-video_size",
            &format!("{width}x{height}"),
            "-framerate",
            "1",
        ];
        Self::file("rawvideo", options.map(str::to_owned).into(), file)
    }

    /// A source that is read through a loopback port.
    #[must_use]
    pub fn loopback(demuxer: &'static str, mut options: Vec<String>, source: &RangeServer) -> Self {
        // Whatever the kernel buffers and FFmpeg never reads was fetched for nothing.
        options.extend(["-recv_buffer_size", "65536"].map(str::to_owned));
        Self {
            demuxer,
            options,
            file: source.url().to_owned(),
            protocols: LOOPBACK_PROTOCOLS,
            port: Some(source.port()),
            is_cropped: true,
            is_parallel: false,
        }
    }

    fn file(demuxer: &'static str, options: Vec<String>, file: impl Into<String>) -> Self {
        Self {
            demuxer,
            options,
            file: file.into(),
            protocols: FILE_PROTOCOLS,
            port: None,
            is_cropped: true,
            is_parallel: false,
        }
    }

    /// The same input, decoded without cropping.
    #[must_use]
    pub fn uncropped(self) -> Self {
        Self {
            is_cropped: false,
            ..self
        }
    }

    /// The same MP4 file, with all frames that its edit list hides, on the timeline of its media. Otherwise, `FFmpeg`
    /// would say nothing about hidden frames that it decodes only in part.
    #[must_use]
    pub fn unedited(mut self) -> Self {
        self.options.extend(UNEDITED.map(str::to_owned));
        self
    }

    /// The same input up to a time, in seconds of its timeline.
    #[must_use]
    pub fn until(mut self, seconds: f64) -> Self {
        self.options
            .extend(["-t".to_owned(), format!("{seconds:.6}")]);
        self
    }

    /// The same HEVC input, decoded by several threads. Each thread holds pictures in memory. With several threads,
    /// `FFmpeg` may miss that an H.264 picture was decoded only in part; for HEVC it notices as much as with one.
    #[must_use]
    pub fn parallel(self) -> Self {
        Self {
            is_parallel: true,
            ..self
        }
    }

    /// The cropping option for this version of `FFmpeg`; `None` for the default.
    fn cropping(&self, version: (u32, u32)) -> Option<&'static str> {
        match (self.is_cropped, version >= CROPS_CONTAINERS) {
            (true, true) => Some(CROPPING),
            (true, false) => None,
            (false, true) => Some("none"),
            // The decoder's own option.
            (false, false) => Some("0"),
        }
    }
}

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// How large each file that it writes may get, in bytes; `u64::MAX` for the system's limit.
    pub file_bytes: u64,
}

impl Limits {
    /// The limits of a run that writes no files.
    fn of_answer(time: Duration) -> Self {
        Self {
            time,
            file_bytes: 0,
        }
    }
}

/// All restrictions of one run.
#[derive(Debug)]
struct Bounds<'a> {
    limits: Limits,
    memory: &'a Memory,
    /// What it may reach; everything if `None`.
    cage: Option<Cage<'a>>,
    /// How much CPU time it may take. Unlike wall-clock time, that does not grow while it waits.
    processor_seconds: Option<u64>,
}

impl<'a> Bounds<'a> {
    fn of(limits: Limits, memory: &'a Memory) -> Self {
        Self {
            limits,
            memory,
            cage: None,
            processor_seconds: None,
        }
    }
}

impl Ffmpeg {
    /// Finds the program, in a Lambda layer's `/opt/bin/ffmpeg`, and the number of threads for the function's memory.
    ///
    /// # Errors
    /// `Internal` when there is no `ffmpeg` on the `PATH`.
    pub fn find() -> Result<Self, ClipError> {
        let program = on_path().ok_or_else(|| {
            ClipError::internal("there is no ffmpeg on the PATH; is the layer missing?")
        })?;
        let memory_mb = std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
            .ok()
            .and_then(|mb| mb.parse::<u32>().ok());
        // Detect and log the walls when the function starts.
        _ = cage::walls();
        Ok(Self {
            program: Ok(program),
            threads: memory_mb.unwrap_or(MB_PER_VCPU).div_ceil(MB_PER_VCPU),
            version: (u32::MAX, 0),
            encoded_microseconds: None,
            memory: memory_mb.map_or_else(Memory::default, Memory::of_function),
            is_caged: true,
        })
    }

    /// Uses the program at a path, with the `ffprobe` beside it.
    ///
    /// # Errors
    /// `Internal` when it cannot be run, is no `FFmpeg`, or is older than 7.0.
    pub async fn at(program: PathBuf, threads: u32) -> Result<Self, ClipError> {
        // If its libraries are where a cage does not allow them, it runs outside.
        let (said, is_caged) = match version_of(&program, Some(Cage::default())).await {
            Ok(said) => (said, true),
            Err(_) => (version_of(&program, None).await?, false),
        };
        let named = |what| ClipError::internal(format!("{}: {what}", program.display()));
        let version = parse_version(&said).ok_or_else(|| named("is no FFmpeg".to_owned()))?;
        if version < OLDEST {
            let ((major, minor), (least, least_minor)) = (version, OLDEST);
            return Err(named(format!(
                "FFmpeg {major}.{minor} is too old; {least}.{least_minor} or newer is needed"
            )));
        }
        Ok(Self {
            program: Ok(program),
            threads,
            version,
            encoded_microseconds: None,
            memory: Memory::default(),
            is_caged,
        })
    }

    /// Stands for a missing program: any use of it raises `why`.
    #[must_use]
    pub fn missing(why: ClipError) -> Self {
        Self {
            program: Err(why),
            threads: 1,
            version: OLDEST,
            encoded_microseconds: None,
            memory: Memory::default(),
            is_caged: false,
        }
    }

    /// Whether it is missing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.program.is_err()
    }

    /// Makes its runs report progress, several times a second, in `encoded_microseconds`: the position of the furthest
    /// one.
    #[must_use]
    pub fn watched(self, encoded_microseconds: Arc<AtomicU64>) -> Self {
        Self {
            encoded_microseconds: Some(encoded_microseconds),
            ..self
        }
    }

    /// Makes its runs share this memory.
    #[must_use]
    pub fn within(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// Runs it on `inputs` in `folder`, where it also writes. The options `output` follow the inputs.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` when it runs out of time, memory or space, `UnsupportedMedia` with the first lines of its
    /// own message when it gives up, `Internal` when it cannot be started.
    pub async fn run(
        &self,
        folder: &Path,
        inputs: &[Input],
        output: &[OsString],
        limits: Limits,
    ) -> Result<(), ClipError> {
        let mut command = self.decode(&COMMON, folder, inputs)?;
        self.encode(&mut command, output);
        run(
            command,
            self.bounds(limits, Some(folder), inputs),
            |stdout| listen_to_progress(stdout, self.encoded_microseconds.as_deref()),
        )
        .await
    }

    /// As [`run`](Self::run) on one input, but continues past damage. Returns what was decoded. Times are those of the
    /// input.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_and_look(
        &self,
        folder: &Path,
        input: &Input,
        output: &[OsString],
        limits: Limits,
    ) -> Result<Decoded, ClipError> {
        let inputs = std::slice::from_ref(input);
        let mut command = self.decode(&Decoded::COMMON, folder, inputs)?;
        command.args(Decoded::PLAY_ON);
        self.encode(&mut command, output);
        let (mut decoded, mut said) = (Decoded::default(), Said::default());
        let (status, ()) = run_to_end(
            command,
            self.bounds(limits, Some(folder), inputs),
            |stdout| listen_to_progress(stdout, self.encoded_microseconds.as_deref()),
            |line| {
                decoded.hear(line);
                if Decoded::is_error(line) {
                    said.hear(line);
                }
            },
        )
        .await?;
        classify_exit(status, &said.to_string()).map(|()| decoded)
    }

    /// Decodes what is shown of an input, with its audio, continuing past damage.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` when it runs out of time or memory, `Internal` when it cannot be started.
    pub async fn look(
        &self,
        folder: &Path,
        input: &Input,
        limits: Limits,
    ) -> Result<Decoded, ClipError> {
        let inputs = std::slice::from_ref(input);
        let mut command = self.decode(&Decoded::COMMON, folder, inputs)?;
        command.args(Decoded::PLAY_ON).args(Decoded::OUTPUT);
        let mut decoded = Decoded::default();
        let heard = |line: &str| decoded.hear(line);
        let bounds = self.bounds(limits, Some(folder), inputs);
        let (status, ()) = run_to_end(command, bounds, async |_| (), heard).await?;
        match classify_exit(status, &decoded.complaints.join("; ")) {
            Err(error) if error.kind != ErrorKind::UnsupportedMedia => Err(error),
            _ => Ok(decoded),
        }
    }

    /// Adds an output that is encoded, reporting progress.
    fn encode(&self, command: &mut Command, output: &[OsString]) {
        let period = match self.encoded_microseconds {
            Some(_) => "0.2",
            None => "5",
        };
        let threads = self.threads.to_string();
        command
            .args(["-threads", &threads, "-progress", "pipe:1"])
            .args(["-stats_period", period])
            .args(output);
    }

    /// A command that runs in `folder` and decodes `inputs`, with the options `common` in front.
    fn decode(
        &self,
        common: &[&str],
        folder: &Path,
        inputs: &[Input],
    ) -> Result<Command, ClipError> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new(program);
        command.args(common).current_dir(folder);
        for input in inputs {
            let threads = if input.is_parallel { self.threads } else { 1 };
            command.args(["-max_pixels", MAX_PIXELS, "-threads", &threads.to_string()]);
            if let Some(cropping) = input.cropping(self.version) {
                command.args(["-apply_cropping", cropping]);
            }
            read(&mut command, input);
        }
        Ok(command)
    }

    /// Whether its encoder `encoder` accepts the pixel format `pixels`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn encodes(&self, encoder: &str, pixels: &str) -> Result<bool, ClipError> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new(program);
        command.args(["-hide_banner", "-v", "error", "-h"]);
        command.arg(format!("encoder={encoder}"));
        let bounds = self.bounds(Limits::of_answer(VERSION_TIME), None, &[]);
        let said = run(command, bounds, answer).await?;
        let said = String::from_utf8_lossy(&said);
        let formats = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Supported pixel formats:"));
        Ok(formats.is_some_and(|formats| formats.split_whitespace().any(|own| own == pixels)))
    }

    /// Describes an input with `ffprobe`, as JSON: the requested `entries`, in its own notation.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn describe(
        &self,
        input: &Input,
        entries: &str,
        packets: u32,
        time: Duration,
    ) -> Result<Vec<u8>, ClipError> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new(program.with_file_name("ffprobe"));
        command.args([
            "-hide_banner",
            "-v",
            "error",
            "-of",
            "json",
            "-show_entries",
            entries,
            "-read_intervals",
            &format!("%+#{packets}"),
        ]);
        read(&mut command, input);
        let inputs = std::slice::from_ref(input);
        let bounds = Bounds {
            processor_seconds: Some(DESCRIPTION_PROCESSOR_SECONDS),
            ..self.bounds(Limits::of_answer(time), None, inputs)
        };
        run(command, bounds, answer).await
    }

    /// The restrictions of a run that works in a folder, if any, and reads these inputs.
    fn bounds<'a>(
        &'a self,
        limits: Limits,
        folder: Option<&'a Path>,
        inputs: &[Input],
    ) -> Bounds<'a> {
        let cage = self.is_caged.then(|| Cage {
            folder,
            ports: inputs.iter().filter_map(|input| input.port).collect(),
        });
        Bounds {
            cage,
            ..Bounds::of(limits, &self.memory)
        }
    }
}

/// A program's version output.
async fn version_of(program: &Path, cage: Option<Cage<'_>>) -> Result<Vec<u8>, ClipError> {
    let mut command = Command::new(program);
    command.arg("-version");
    let memory = Memory::default();
    let bounds = Bounds {
        cage,
        ..Bounds::of(Limits::of_answer(VERSION_TIME), &memory)
    };
    run(command, bounds, answer).await
}

/// The `ffmpeg` that is on the `PATH`.
#[must_use]
pub fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("ffmpeg"))
        .find(|file| file.is_file())
}

/// The version in the output of `-version`, such as `ffmpeg version n8.1.2 …`. One without a number was built from the
/// newest sources.
fn parse_version(said: &[u8]) -> Option<(u32, u32)> {
    let said = String::from_utf8_lossy(said);
    let version = said.strip_prefix("ffmpeg version ")?.split(' ').next()?;
    let mut numbers = version
        .trim_start_matches('n')
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse);
    Some(match (numbers.next(), numbers.next()) {
        // A snapshot is named after its date.
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, 0),
    })
}

/// A program's output, up to a limit.
async fn answer(mut stdout: ChildStdout) -> Vec<u8> {
    let mut answer = Vec::new();
    // Truncated output fails to parse as JSON later.
    _ = (&mut stdout)
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await;
    answer
}

/// Adds the options of an input.
fn read(command: &mut Command, input: &Input) {
    command
        .args([
            "-protocol_whitelist",
            input.protocols,
            "-max_streams",
            MAX_STREAMS,
            "-f",
            input.demuxer,
        ])
        .args(&input.options)
        .args(["-i", &input.file]);
}

/// Runs a command, which must succeed, passing its standard output to `listen`.
async fn run<T>(
    command: Command,
    bounds: Bounds<'_>,
    listen: impl AsyncFnOnce(ChildStdout) -> T,
) -> Result<T, ClipError> {
    let mut said = Said::default();
    let hear = |line: &str| said.hear(line);
    let (status, heard) = run_to_end(command, bounds, listen, hear).await?;
    classify_exit(status, &said.to_string()).map(|()| heard)
}

/// Runs a command to its end, passing its standard output to `listen` and its standard error to `hear`, line by line.
async fn run_to_end<T>(
    mut command: Command,
    bounds: Bounds<'_>,
    listen: impl AsyncFnOnce(ChildStdout) -> T,
    hear: impl FnMut(&str),
) -> Result<(ExitStatus, T), ClipError> {
    let program = command.as_std().get_program().to_owned();
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let spawned = match &bounds.cage {
        Some(cage) => cage::spawn(&mut command, cage),
        None => command.spawn(),
    };
    let mut child = spawned
        .map_err(|error| ClipError::internal(format!("starting {}: {error}", program.display())))?;
    let group = Group::of(&child, &bounds)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(ClipError::internal("a program has no output"));
    };
    let work = async { tokio::join!(child.wait(), listen(stdout), listen_to(stderr, hear)) };
    let ended = tokio::select! {
        ended = tokio::time::timeout(bounds.limits.time, work) => ended,
        error = bounds.memory.exceeded(group.0) => return Err(error),
    };
    match ended {
        Err(_) => {
            let seconds = bounds.limits.time.as_secs();
            Err(ClipError::trim_budget_exceeded(format!(
                "encoding took more than the {seconds} s that were left"
            )))
        }
        Ok((Err(error), ..)) => Err(ClipError::internal(format!("waiting for ffmpeg: {error}"))),
        Ok((Ok(status), heard, ())) => Ok((status, heard)),
    }
}

/// The process group of a run, killed on drop.
struct Group(Option<Pid>);

impl Group {
    /// The group of a program that was started, held to its limits.
    fn of(program: &Child, bounds: &Bounds<'_>) -> Result<Self, ClipError> {
        let id = program.id().and_then(|id| i32::try_from(id).ok());
        let group = Self(id.and_then(Pid::from_raw));
        if bounds.limits.file_bytes != u64::MAX {
            group.limit(Resource::Fsize, bounds.limits.file_bytes)?;
        }
        group.limit(Resource::Core, 0)?;
        if let Some(seconds) = bounds.processor_seconds {
            group.limit(Resource::Cpu, seconds)?;
        }
        if let Some(bytes) = bounds.memory.allocation_bytes() {
            group.limit(Resource::Data, bytes)?;
        }
        Ok(group)
    }

    #[cfg(target_os = "linux")]
    fn limit(&self, resource: Resource, most: u64) -> Result<(), ClipError> {
        use rustix::process::{Rlimit, prlimit};
        // If soft and hard limit were equal, a program that takes too long would look like one killed for its memory.
        let more = u64::from(resource == Resource::Cpu);
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most + more),
        };
        match prlimit(self.0, resource, limit) {
            // It may have ended already; what it said is judged later.
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(ClipError::internal(format!("limiting ffmpeg: {error}"))),
        }
    }

    /// Other systems can only limit the current process. Lambda is Linux.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    fn limit(&self, _: Resource, _: u64) -> Result<(), ClipError> {
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn classify_exit(status: ExitStatus, said: &str) -> Result<(), ClipError> {
    use std::os::unix::process::ExitStatusExt;
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    const SIGXFSZ: i32 = 25;
    /// Signals of programs that crash on their input: abort, bus error, arithmetic error, segmentation fault.
    const CRASHES: [i32; 4] = [6, 7, 8, 11];
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (_, Some(SIGKILL)) => Err(ClipError::trim_budget_exceeded(
            "ffmpeg was killed because memory ran out",
        )),
        (_, Some(SIGXCPU)) => Err(ClipError::trim_budget_exceeded(format!(
            "describing the source takes more than {DESCRIPTION_PROCESSOR_SECONDS} s of processor time"
        ))),
        (_, Some(SIGXFSZ)) => Err(ClipError::trim_budget_exceeded(
            "the clip is larger than the working space",
        )),
        _ if said.contains("No space left") || said.contains("File too large") => Err(
            ClipError::trim_budget_exceeded("the clip is larger than the working space"),
        ),
        (_, Some(signal)) if CRASHES.contains(&signal) => Err(ClipError::unsupported_media(
            format!("ffmpeg crashes on the source (signal {signal}): {said}"),
        )),
        (_, Some(signal)) => Err(ClipError::internal(format!(
            "ffmpeg was ended by signal {signal}: {said}"
        ))),
        _ if said.contains("Unknown encoder") => Err(ClipError::internal(format!(
            "this ffmpeg was built without an encoder: {said}"
        ))),
        _ if said.contains("No such filter") => Err(ClipError::internal(format!(
            "this ffmpeg was built without a filter (bringing HDR to SDR takes zscale): {said}"
        ))),
        _ => Err(ClipError::unsupported_media(
            match log::undecodable_codec(said) {
                Some(codec) => format!("this FFmpeg cannot decode {codec}"),
                None => format!("ffmpeg cannot read the source: {said}"),
            },
        )),
    }
}

/// Logs the position from the key=value lines of `-progress`, or stores it in `watched`.
async fn listen_to_progress(stdout: ChildStdout, watched: Option<&AtomicU64>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match (watched, line.split_once('=')) {
            (Some(watched), Some(("out_time_us", position))) => {
                watched.fetch_max(position.parse().unwrap_or(0), Relaxed);
            }
            (None, Some(("out_time", position))) => tracing::info!(position, "encoding"),
            _ => {}
        }
    }
}

/// Passes output on, line by line.
async fn listen_to(stderr: impl AsyncRead + Unpin, mut hear: impl FnMut(&str)) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // Read to the end, even invalid UTF-8: a full pipe would block the program.
    while let Ok(1..) = stderr.read_until(b'\n', &mut line).await {
        hear(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uncaged(seconds: u64, memory: &Memory) -> Bounds<'_> {
        Bounds::of(Limits::of_answer(Duration::from_secs(seconds)), memory)
    }

    /// How a program ends that keeps allocating memory.
    async fn greedy(memory: &Memory, seconds: u64) -> ClipError {
        let mut command = Command::new("tail");
        command.args(["-n", "1", "/dev/zero"]);
        let ended = run(command, uncaged(seconds, memory), answer).await;
        ended.expect_err("it never ends by itself")
    }

    #[tokio::test]
    async fn program_that_takes_too_much_memory_is_ended_by_name() {
        let error = greedy(&Memory::of_bytes(200 << 20), 60).await;
        assert_eq!(error.kind, model::ErrorKind::TrimBudgetExceeded);
        assert!(error.message.contains("MB of memory"), "{error}");
    }

    #[tokio::test]
    async fn programs_share_the_memory_and_the_largest_is_ended() {
        let memory = Memory::of_bytes(300 << 20);
        let mut small = Command::new("sleep");
        small.arg("2");
        let small = run(small, uncaged(60, &memory), answer);
        let (small, large) = tokio::join!(small, greedy(&memory, 60));
        assert!(
            small.is_ok() && large.message.contains("MB of memory"),
            "{small:?}, {large}"
        );
    }

    #[tokio::test]
    async fn program_that_takes_too_much_processor_time_is_ended_by_name() {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let memory = Memory::default();
        let bounds = Bounds {
            processor_seconds: Some(1),
            ..uncaged(60, &memory)
        };
        let error = run(command, bounds, answer)
            .await
            .expect_err("it never ends by itself");
        assert_eq!(error.kind, ErrorKind::TrimBudgetExceeded);
        assert!(error.message.contains("processor time"), "{error}");
    }

    #[tokio::test]
    async fn crash_is_the_fault_of_what_is_read_and_other_signals_are_not() {
        let ended_by = async |signal: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("kill -{signal} $$")]);
            let ended = run(command, uncaged(60, &Memory::default()), answer).await;
            ended.expect_err("a signal ends it").kind
        };
        for signal in ["SEGV", "ABRT", "FPE", "BUS"] {
            assert_eq!(ended_by(signal).await, ErrorKind::UnsupportedMedia);
        }
        for signal in ["TERM", "ILL"] {
            assert_eq!(ended_by(signal).await, ErrorKind::Internal, "{signal}");
        }
        assert_eq!(ended_by("KILL").await, ErrorKind::TrimBudgetExceeded);
    }

    #[test]
    fn version_is_understood_however_it_was_built() {
        for (said, version) in [
            ("ffmpeg version n8.1.2 Copyright (c) 2000", (8, 1)),
            ("ffmpeg version 5.1.9-0+deb12u1 Copyright", (5, 1)),
            ("ffmpeg version 7.0 Copyright", (7, 0)),
            ("ffmpeg version 6.1.1-3ubuntu5 Copyright", (6, 1)),
            ("ffmpeg version N-118000-g0123abc Copyright", (u32::MAX, 0)),
            ("ffmpeg version 2025-01-02-git-0123abc-full", (2025, 1)),
        ] {
            assert_eq!(parse_version(said.as_bytes()), Some(version), "{said}");
        }
        assert_eq!(parse_version(b"GNU coreutils"), None);
    }
}
