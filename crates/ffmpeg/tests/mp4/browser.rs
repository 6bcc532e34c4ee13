//! Clips in a real browser: headless Chromium seeks in a `<video>`, draws it on a canvas and reads the number burned
//! into each frame.
//!
//! In Chromium `seeked` fires before the frame is painted, so a page that draws on a canvas waits for
//! `requestVideoFrameCallback`, which is silent when the frame stays the same. If frames vary in duration and are
//! reordered, Chromium shows each until the next one in decode order, so after a seek the previous frame may be
//! visible, in clips and in their sources. Those are compared with `FFmpeg` only.

use crate::common::{
    ffmpeg::{BITS, BITS_ROW, Folder, SIZE, load, number_of, numbered, words},
    kinds::{footage, kinds},
    smart::{smart_cut, smart_cuts},
    source::{AAC, H264, Source, encode, microseconds},
};
use model::{clip_spec::AudioFormat, request::Format};
use mp4_cut::Window;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

/// How long the browser may take for a clip, and to start.
const TIME: Duration = Duration::from_mins(1);

/// What the page is told about a clip, and what it has to show.
struct Clip {
    name: String,
    file: Vec<u8>,
    /// When to look, in seconds, and the number that must be visible then.
    looks: Vec<(f64, usize)>,
}

impl Clip {
    /// Looks at the first and the last frame of each window of `source`, and at ten between, in random order. `file`
    /// shows the windows one after the other.
    fn of(name: String, source: &Source, windows: &[Window], file: &Path) -> Self {
        let (mut frames, mut looks, mut begin) = (Vec::new(), Vec::new(), 0);
        for window in windows {
            let (first, shown) = (source.first_picture(window), source.pictures_in(window));
            let [start, end] =
                [window.facts.start_seconds, window.facts.end_seconds].map(microseconds);
            let look = |index: usize| {
                let next = shown.get(index + 1).map_or(end, |next| next.time);
                #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                let middle = (i64::midpoint(shown[index].time, next) - start + begin) as f64 / 1e6;
                (middle, number_of(&source.pixels()[first + index]))
            };
            looks.extend([0, shown.len() - 1].map(look));
            frames.extend((0..shown.len()).map(look));
            begin += end - start;
        }
        looks.extend((1_usize..=10).map(|step| frames[step * 7919 % frames.len()]));
        Self {
            name,
            looks,
            file: load(file).to_vec(),
        }
    }
}

const PAGE: &str = "<!doctype html><video muted></video><script>
const video = document.querySelector('video');
const until = (event, act) => new Promise((resolve, reject) => {
  video.addEventListener(event, resolve, {once: true});
  video.onerror = () => reject(new Error(video.error.message));
  setTimeout(() => reject(new Error(event + ' did not come')), 20000);
  act();
});
const context = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', {willReadFrequently: true});
const number = () => {
  context.drawImage(video, 0, 0, WIDTH, HEIGHT);
  let value = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const pixel = context.getImageData(Math.floor((bit + 0.5) * WIDTH / BITS), ROW, 1, 1).data;
    if (pixel[1] > 127) value |= 1 << bit;
  }
  return value;
};
(async () => {
  for (const [index, times] of (await (await fetch('/times')).json()).entries()) {
    let seen;
    try {
      await until('loadeddata', () => { video.src = '/' + index; });
      const numbers = [];
      for (const time of times) {
        // If the same frame is already shown, nothing is repainted.
        const limit = new Promise((resolve) => setTimeout(resolve, 500));
        const painted = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
        await until('seeked', () => { video.currentTime = time; });
        await Promise.race([painted, limit]);
        numbers.push(number());
      }
      seen = {numbers};
    } catch (error) {
      seen = {error: String(error)};
    }
    await fetch('/seen', {method: 'POST', body: JSON.stringify(seen)});
  }
})();
</script>";

/// Serves the page and the clips on a loopback port, and receives what the page saw of each clip.
fn serve(clips: Vec<Clip>) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    let clips = Arc::new(clips);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (clips, sender) = (clips.clone(), sender.clone());
            // A browser that hangs up does not need the rest.
            std::thread::spawn(move || _ = answer(connection, &clips, &sender));
        }
    });
    (url, receiver)
}

fn answer(
    connection: TcpStream,
    clips: &[Clip],
    seen: &mpsc::Sender<Value>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut request = String::new();
    while reader.read_line(&mut request)? > 2 {}
    let header = |name: &str| {
        request
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned))
    };
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let page = PAGE
        .replace("WIDTH", &SIZE.0.to_string())
        .replace("HEIGHT", &SIZE.1.to_string());
    let page = page
        .replace("BITS", &BITS.to_string())
        .replace("ROW", &BITS_ROW.to_string());
    let mut status = "200 OK".to_owned();
    let times = || {
        clips
            .iter()
            .map(|clip| clip.looks.iter().map(|look| look.0).collect())
            .collect::<Vec<Vec<f64>>>()
    };
    let (kind, body) = match path.as_str() {
        "/" => ("text/html", page.into_bytes()),
        "/times" => ("application/json", json!(times()).to_string().into_bytes()),
        "/seen" => {
            let length = header("content-length: ")
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let _ = seen.send(serde_json::from_slice(&body)?);
            ("text/plain", Vec::new())
        }
        path => {
            if let Some(clip) = path[1..]
                .parse::<usize>()
                .ok()
                .and_then(|index| clips.get(index))
            {
                let file = &clip.file;
                let range = header("range: bytes=").unwrap_or_default();
                let (start, end) = range.trim().split_once('-').unwrap_or(("0", ""));
                let start = start.parse().unwrap_or(0).min(file.len());
                let end = end
                    .parse()
                    .map_or(file.len(), |end: usize| (end + 1).min(file.len()));
                status = format!(
                    "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                    end - 1,
                    file.len()
                );
                ("video/mp4", file[start..end].to_vec())
            } else {
                "404 Not Found".clone_into(&mut status);
                ("text/plain", Vec::new())
            }
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n"
    );
    let mut connection = reader.into_inner();
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body)
}

/// A browser, killed on drop.
struct Browser(Child);

impl Browser {
    fn open(program: &str, url: &str, profile: &Path) -> Self {
        let options = "--headless=new --no-sandbox --disable-gpu --mute-audio --no-first-run --disable-extensions";
        let child = Command::new(program)
            .args(words(options))
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the browser that CLIPFLOW_CHROMIUM names"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sources with numbered frames, each with a name and whether the browser decodes it directly.
fn sources() -> Vec<(String, Folder, PathBuf, bool)> {
    let upright = kinds().into_iter().filter(|kind| !kind.turned());
    let mut sources: Vec<_> = upright
        .map(|kind| {
            let folder = Folder::new();
            let path = kind.build(&folder);
            (kind.name.to_owned(), folder, path, kind.plays)
        })
        .collect();
    for path in footage() {
        let input = vec![
            "-t".to_owned(),
            "4".to_owned(),
            "-i".to_owned(),
            path.display().to_string(),
        ];
        let filter = format!("-vf scale={}:{},{}", SIZE.0, SIZE.1, numbered());
        let folder = Folder::new();
        let numbered = folder.build(
            "source.mp4",
            &[input, words(&filter), words(H264), words(AAC)],
        );
        sources.push((path.display().to_string(), folder, numbered, true));
    }
    sources
}

/// Intervals as fractions of the duration.
const INTERVALS: [Range<f64>; 2] = [0.31..0.77, 0.0..1.0];
/// Intervals that are joined.
const JOINED: [Range<f64>; 4] = [0.31..0.77, 0.62..0.7, 0.05..0.6, 0.76..1.0];

#[tokio::test]
async fn clips_show_the_right_frames_in_a_browser() {
    let Ok(program) = std::env::var("CLIPFLOW_CHROMIUM") else {
        eprintln!("CLIPFLOW_CHROMIUM is not set: clips are not shown in a browser");
        return;
    };
    let mut clips = Vec::new();
    for (name, _folder, path, plays) in sources() {
        clips.extend(clips_of(&name, &path, plays).await);
    }
    let expected: Vec<(String, Vec<usize>)> = clips
        .iter()
        .map(|clip| {
            (
                clip.name.clone(),
                clip.looks.iter().map(|look| look.1).collect(),
            )
        })
        .collect();
    for way in ["copy", "encode", "smart cut", "joined smart cut"] {
        assert!(
            expected
                .iter()
                .filter(|(name, _)| name.starts_with(way))
                .count()
                >= 12,
            "{way}: {expected:?}"
        );
    }
    let (url, seen) = serve(clips);
    let profile = tempfile::tempdir().expect("a folder");
    let browser = Browser::open(&program, &url, profile.path());
    let mut wrong = Vec::new();
    for clip @ (name, numbers) in &expected {
        let seen = seen.recv_timeout(TIME);
        let seen = seen.unwrap_or_else(|error| panic!("{name}: {error}"));
        if seen["numbers"] != json!(numbers) {
            wrong.push((clip, seen));
        }
    }
    drop(browser);
    println!("{} clips were looked at", expected.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Clips that are made in every way; of what the browser does not play, those that are encoded whole.
async fn clips_of(name: &str, path: &Path, plays: bool) -> Vec<Clip> {
    let source = Source::decode(path).await;
    let video = &source.movie.facts.video;
    let mut clips = Vec::new();
    if !video.constant_frame_rate {
        // Chromium shows each frame until the next one in decode order, even for the source itself.
        return clips;
    }
    let at = |part: f64| video.start_seconds + part * video.duration_seconds;
    let interval = |part: &Range<f64>| at(part.start)..at(part.end);
    for part in INTERVALS {
        let (window, copy) = source.cut(interval(&part)).await;
        let windows = std::slice::from_ref(&window);
        let mut add = |way: &str, file: &Path| {
            let name = format!("{way} of {name}, {part:?}");
            clips.push(Clip::of(name, &source, windows, file));
        };
        if plays {
            add("copy", &copy);
        }
        add("encode", &encode(&source, &window, &copy).await);
        if plays && let Ok((.., clip)) = smart_cut(&source, interval(&part)).await {
            add("smart cut", &clip);
        }
    }
    let sound = source.movie.facts.audio.as_ref();
    let sound = sound.map(|sound| AudioFormat::of(sound, Format::Mp4));
    let joined = JOINED.map(|part| (&source, interval(&part)));
    if plays && let Ok(clip) = smart_cuts(&joined, sound).await {
        let name = format!("joined smart cut of {name}");
        clips.push(Clip::of(name, &source, &clip.windows, &clip.path));
    }
    clips
}
