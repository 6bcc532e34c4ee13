//! Clips in a real browser: headless Chromium seeks in a `<video>`, draws it on a canvas and reads the number that is
//! burned into each frame.

use super::{
    ffmpeg::{Folder, SIZE, collect, load, pictures, sound, words},
    footage::{AAC, H264, HEVC, Source, encode, microseconds},
    smart::{smart_cut, smart_cuts},
};
use clipflow_core::{mp4::Window, rendition::Sound};
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

/// How many bits of a frame's number are burned in, from left to right, the lowest first.
const BITS: usize = 10;
/// How long the browser may take for all clips.
const TIME: Duration = Duration::from_mins(3);

/// A filter that burns the frame's number into its top: white for a one, black for a zero.
fn numbered() -> String {
    let width = SIZE.0 / BITS;
    let bits = (0..BITS).map(|bit| {
        let (x, value) = (bit * width, 1 << bit);
        format!(",drawbox=x={x}:y=0:w={width}:h=60:c=white:t=fill:enable='bitand(n\\,{value})'")
    });
    format!("drawbox=x=0:y=0:w={}:h=60:c=black:t=fill{}", SIZE.0, bits.collect::<String>())
}

/// What the page is told about a clip, and what it has to see.
struct Clip {
    name: String,
    file: Vec<u8>,
    /// When to look, in seconds, and the number that is to be seen then.
    looks: Vec<(f64, usize)>,
}

impl Clip {
    /// Looks at the first and the last frame of each interval of `source`, of which `file` shows one after the other, and
    /// at ten between, in no order.
    fn of(name: String, source: &Source, intervals: &[Range<f64>], file: Vec<u8>) -> Self {
        let times: Vec<i64> = source.pictures.iter().map(|picture| picture.time).collect();
        let at = |seconds: f64| times.partition_point(|time| *time + 20 < microseconds(seconds));
        let (mut frames, mut looks, mut begin) = (Vec::new(), Vec::new(), 0.0);
        for Range { start, end } in intervals {
            let shown = at(*start)..at(*end);
            let look = |index: usize| {
                let next = if index + 1 < shown.end { times[index + 1] } else { microseconds(*end) };
                #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                let middle = (times[index] + next) as f64 / 2e6 - start + begin;
                (middle, index % (1 << BITS))
            };
            looks.extend([shown.start, shown.end - 1].map(look));
            frames.extend(shown.clone().map(look));
            begin += end - start;
        }
        looks.extend((1_usize..=10).map(|step| frames[step * 7919 % frames.len()]));
        Self { name, file, looks }
    }
}

const PAGE: &str = "<!doctype html><video muted></video><script>
const video = document.querySelector('video');
const until = (event, act) => new Promise((resolve, reject) => {
  video.addEventListener(event, resolve, {once: true});
  video.onerror = () => reject(new Error(video.error.message));
  act();
});
const context = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', {willReadFrequently: true});
const number = () => {
  context.drawImage(video, 0, 0, WIDTH, HEIGHT);
  let value = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const pixel = context.getImageData(Math.floor((bit + 0.5) * WIDTH / BITS), 30, 1, 1).data;
    if (pixel[1] > 127) value |= 1 << bit;
  }
  return value;
};
(async () => {
  const seen = [];
  for (const [index, times] of (await (await fetch('/times')).json()).entries()) {
    try {
      await until('loadeddata', () => { video.src = '/' + index; });
      const numbers = [];
      for (const time of times) {
        // Nothing is painted anew where the same frame is shown already.
        const limit = new Promise((resolve) => setTimeout(resolve, 500));
        const painted = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
        await until('seeked', () => { video.currentTime = time; });
        await Promise.race([painted, limit]);
        numbers.push(number());
      }
      seen.push({numbers, duration: video.duration});
    } catch (error) {
      seen.push({error: String(error)});
    }
  }
  await fetch('/seen', {method: 'POST', body: JSON.stringify(seen)});
})();
</script>";

/// Serves the page and the clips on a loopback port, and takes what the page has seen.
fn serve(clips: Vec<Clip>) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    let clips = Arc::new(clips);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (clips, sender) = (clips.clone(), sender.clone());
            // A browser that hangs up does not want the rest.
            std::thread::spawn(move || _ = answer(connection, &clips, &sender));
        }
    });
    (url, receiver)
}

fn answer(connection: TcpStream, clips: &[Clip], seen: &mpsc::Sender<Value>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut request = String::new();
    while reader.read_line(&mut request)? > 2 {}
    let header =
        |name: &str| request.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let page = PAGE.replace("WIDTH", &SIZE.0.to_string()).replace("HEIGHT", &SIZE.1.to_string());
    let page = page.replace("BITS", &BITS.to_string());
    let mut status = "200 OK".to_owned();
    let times = || clips.iter().map(|clip| clip.looks.iter().map(|look| look.0).collect()).collect::<Vec<Vec<f64>>>();
    let (kind, body) = match path.as_str() {
        "/" => ("text/html", page.into_bytes()),
        "/times" => ("application/json", json!(times()).to_string().into_bytes()),
        "/seen" => {
            let length = header("content-length: ").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let _ = seen.send(serde_json::from_slice(&body)?);
            ("text/plain", Vec::new())
        }
        path => {
            if let Some(clip) = path[1..].parse::<usize>().ok().and_then(|index| clips.get(index)) {
                let file = &clip.file;
                let range = header("range: bytes=").unwrap_or_default();
                let (start, end) = range.trim().split_once('-').unwrap_or(("0", ""));
                let start = start.parse().unwrap_or(0).min(file.len());
                let end = end.parse().map_or(file.len(), |end: usize| (end + 1).min(file.len()));
                status = format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", end - 1, file.len());
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

/// A browser, ended when this is dropped.
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

/// Sources of all kinds, with a name: what is read, and how it is encoded.
fn sources() -> Vec<(&'static str, Vec<Vec<String>>)> {
    let irregular = "select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)),";
    let passthrough = "-fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";
    let of = |rate: &str, before: &str, options: &str| {
        vec![pictures(rate, 4), sound(4), words(&format!("-vf {before}{}", numbered())), words(options)]
    };
    let mut sources: Vec<(&str, Vec<Vec<String>>)> = [
        ("30 frames a second", "30", H264),
        ("29.97 frames a second", "30000/1001", H264),
        ("23.976 frames a second", "24000/1001", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 24"),
        ("59.94 frames a second", "60000/1001", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -bf 3"),
        ("baseline", "25", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -profile:v baseline -g 25"),
        ("main", "25", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -profile:v main -g 25"),
        ("pyramid", "30", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -bf 8 -b_strategy 0 -refs 5"),
        ("intra only", "30", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 1"),
        ("open groups", "30", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 24 -bf 3 -x264-params open-gop=1"),
        ("one group", "30", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 250"),
    ]
    .into_iter()
    .map(|(name, rate, codec)| (name, of(rate, "", &format!("{codec} {AAC}"))))
    .collect();
    sources.push(("variable frame rate", of("60", irregular, &format!("{passthrough} {H264} -g 20 {AAC}"))));
    sources.push(("HEVC", of("30", "", &format!("{HEVC} -x265-params log-level=error {AAC}"))));
    sources.push(("late sound", {
        let mut late = of("30", "", &format!("{H264} {AAC}"));
        late.insert(1, words("-itsoffset 0.7"));
        late
    }));
    if let Some(folder) = std::env::var_os("CLIPFLOW_FOOTAGE").map(PathBuf::from) {
        for name in ["bikes.mp4", "bigbuckbunny.mp4"] {
            let input = vec!["-t".to_owned(), "4".to_owned(), "-i".to_owned(), folder.join(name).display().to_string()];
            let filter = format!("-vf scale={}:{},{}", SIZE.0, SIZE.1, numbered());
            sources.push((name, vec![input, words(&filter), words(H264), words(AAC)]));
        }
    }
    sources
}

/// Intervals as parts of the duration.
const INTERVALS: [Range<f64>; 2] = [0.31..0.77, 0.0..1.0];
/// Intervals that are joined.
const JOINED: [Range<f64>; 4] = [0.31..0.77, 0.62..0.7, 0.05..0.6, 0.76..1.0];

fn shown(window: &Window) -> Range<f64> {
    window.facts.start_seconds..window.facts.end_seconds
}

#[tokio::test]
async fn clips_show_the_right_frames_in_a_browser() {
    let Ok(program) = std::env::var("CLIPFLOW_CHROMIUM") else {
        eprintln!("CLIPFLOW_CHROMIUM is not set: clips are not shown in a browser");
        return;
    };
    let mut clips = Vec::new();
    for (name, arguments) in sources() {
        let folder = Folder::new();
        let source = Source::decode(&folder.build("source.mp4", &arguments)).await;
        let seconds = source.movie.facts.video.duration_seconds;
        for part in INTERVALS {
            let first = source.movie.facts.video.start_seconds;
            let interval = first + part.start * seconds..first + part.end * seconds;
            let window = source.movie.window(interval.start, interval.end).expect("an interval");
            let mut add = |way: &str, file: Vec<u8>| {
                clips.push(Clip::of(format!("{way} of {name}, {part:?}"), &source, &[shown(&window)], file));
            };
            // Chromium decodes no H.264 from a keyframe on that is no IDR picture, and HEVC nowhere but in hardware.
            if !["open groups", "HEVC"].contains(&name) {
                add("copy", collect(&window, &load(&folder.path("source.mp4"))).await.expect("the source's bytes"));
            }
            match smart_cut(&source, interval.clone()).await {
                Ok(clip) => add("smart cut", load(&clip.path).to_vec()),
                Err(why) => {
                    let (window, copy) = source.cut(interval).await;
                    add(&format!("encode ({why})"), load(&encode(&source, &window, &copy)).to_vec());
                }
            }
        }
        let sound = source.movie.facts.audio.as_ref();
        let sound = sound.map(|sound| Sound { sample_rate: sound.sample_rate, channels: sound.channels });
        let cuts = JOINED.map(|part| (&source, part.start * seconds..part.end * seconds));
        if let Ok(clip) = smart_cuts(&cuts, sound).await {
            let intervals: Vec<_> = clip.windows.iter().map(shown).collect();
            clips.push(Clip::of(format!("joined smart cut of {name}"), &source, &intervals, load(&clip.path).to_vec()));
        }
    }
    let expected: Vec<(String, Vec<usize>)> =
        clips.iter().map(|clip| (clip.name.clone(), clip.looks.iter().map(|look| look.1).collect())).collect();
    let count = |way: &str| expected.iter().filter(|(name, _)| name.starts_with(way)).count();
    assert!(count("smart cut") >= 18 && count("joined smart cut") >= 9, "{expected:?}");
    let (url, seen) = serve(clips);
    let profile = tempfile::tempdir().expect("a folder");
    let browser = Browser::open(&program, &url, profile.path());
    let seen = seen.recv_timeout(TIME).expect("what the browser has seen");
    drop(browser);
    let seen = expected.iter().zip(seen.as_array().expect("a list"));
    let wrong: Vec<_> = seen.filter(|((_, expected), seen)| seen["numbers"] != json!(expected)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
