//! Files that refer to other files and addresses: playlists, and references in containers.

use crate::{
    Case,
    boxes::{Box4, with_moov},
    canary::Bait,
    media::Media,
};

const KIND: &str = "references";

/// All cases.
#[must_use]
pub fn cases(media: &Media, bait: &Bait) -> Vec<Case> {
    let mut cases = Vec::new();
    for (scheme, url) in urls(bait) {
        for (name, text) in playlists(&url) {
            cases.push(Case::new(KIND, format!("{name} of {scheme}"), text));
        }
        cases.push(Case::new(
            KIND,
            format!("dref of {scheme}"),
            external(&media.mov, &url),
        ));
        cases.push(Case::new(
            KIND,
            format!("rmra of {scheme}"),
            movie_elsewhere(&url),
        ));
    }
    cases.push(Case::new(KIND, "alias", aliased(&media.mov, bait)));
    cases.extend(disguised(media, bait));
    cases.extend(named(media));
    cases
}

/// URLs of the canary in several forms.
fn urls(bait: &Bait) -> Vec<(&'static str, String)> {
    let (address, video, text) = (bait.address, bait.video.display(), bait.text.display());
    vec![
        ("http", format!("http://{address}/canary.ts")),
        ("file", video.to_string()),
        ("file URL", format!("file://{text}")),
        ("tcp", format!("tcp://{address}")),
        ("udp", format!("udp://{address}")),
        ("rtmp", format!("rtmp://{address}/app/canary")),
        ("concat", format!("concat:{video}|{text}")),
        ("subfile", format!("subfile,,start,0,end,0,,:{video}")),
        ("crypto", format!("crypto+file:{video}")),
    ]
}

/// Playlists that make programs open a URL.
fn playlists(url: &str) -> Vec<(&'static str, String)> {
    let hls = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n";
    let end = "#EXT-X-ENDLIST\n";
    let segment = format!("#EXTINF:2.0,\n{url}\n{end}");
    let mpd = "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
        mediaPresentationDuration=\"PT2S\" profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period>\
        <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"0\" bandwidth=\"9\"><BaseURL>";
    vec![
        ("HLS", format!("{hls}{segment}")),
        (
            "HLS master",
            format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{url}\n"),
        ),
        (
            "HLS key",
            format!("{hls}#EXT-X-KEY:METHOD=AES-128,URI=\"{url}\"\n{segment}"),
        ),
        (
            "HLS map",
            format!("{hls}#EXT-X-MAP:URI=\"{url}\"\n{segment}"),
        ),
        (
            "concat",
            format!("ffconcat version 1.0\nfile '{url}'\nduration 2\n"),
        ),
        (
            "DASH",
            format!("{mpd}{url}</BaseURL></Representation></AdaptationSet></Period></MPD>"),
        ),
        (
            "SDP",
            format!(
                "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={url}\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\n\
                 m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
            ),
        ),
        ("M3U", format!("{url}\n")),
        (
            "PLS",
            format!("[playlist]\nFile1={url}\nNumberOfEntries=1\n"),
        ),
        (
            "ASX",
            format!("<asx version=\"3.0\"><entry><ref href=\"{url}\"/></entry></asx>"),
        ),
        ("RTSP", format!("rtsptext\n{url}\n")),
        (
            "SVG",
            format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><image href=\"{url}\"/></svg>"
            ),
        ),
        (
            "subtitles",
            format!("1\n00:00:00,000 --> 00:00:02,000\n<img src=\"{url}\">\n"),
        ),
        (
            "VobSub",
            format!(
                "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:001, filepos: 0\n{url}\n"
            ),
        ),
        ("filter script", format!("movie='{url}',null\n")),
    ]
}

/// A MOV whose samples are in another file, given by a URL.
fn external(mov: &[u8], url: &str) -> Vec<u8> {
    let named = [&[0; 4], url.as_bytes(), &[0]].concat();
    with_moov(mov, |moov| {
        for trak in moov.boxes.iter_mut().filter(|each| each.kind == *b"trak") {
            trak.at("mdia/minf/dinf/dref").boxes = vec![Box4::new(b"url ", named.clone())];
        }
    })
}

/// A MOV whose samples are in another file, given by a `QuickTime` alias: a record of 150 bytes, then the path as type
/// 2.
fn aliased(mov: &[u8], bait: &Bait) -> Vec<u8> {
    let path = bait.video.display().to_string();
    let mut alias = vec![0; 4 + 150];
    alias[8..10].copy_from_slice(&2_u16.to_be_bytes());
    for kind in [2_u16, 18] {
        let length = u16::try_from(path.len()).expect("a short path");
        alias.extend([kind.to_be_bytes(), length.to_be_bytes()].concat());
        alias.extend(path.as_bytes());
        alias.resize(alias.len() + path.len() % 2, 0);
    }
    alias.extend([0xff, 0xff, 0, 0]);
    with_moov(mov, |moov| {
        for trak in moov.boxes.iter_mut().filter(|each| each.kind == *b"trak") {
            trak.at("mdia/minf/dinf/dref").boxes = vec![Box4::new(b"alis", alias.clone())];
        }
    })
}

/// A MOV that is a reference movie.
fn movie_elsewhere(url: &str) -> Vec<u8> {
    let length = u32::try_from(url.len() + 1).expect("a short URL");
    let data = [
        &[0; 4],
        &b"url "[..],
        &length.to_be_bytes(),
        url.as_bytes(),
        &[0],
    ]
    .concat();
    let reference = Box4::of(b"rmda", [Box4::new(b"rdrf", data)]);
    Box4::of(b"moov", [Box4::of(b"rmra", [reference])]).bytes()
}

/// Playlists that begin like something else.
fn disguised(media: &Media, bait: &Bait) -> Vec<Case> {
    let url = format!("http://{}/canary.ts", bait.address);
    let playlist = &playlists(&url)[0].1;
    let packet = [&b"\x47\x40\x00\x10"[..], &[0xff; 184]].concat().repeat(5);
    let of_boxes = |kind: &[u8; 4]| Box4::new(kind, playlist.as_bytes()).bytes();
    let subtitle = subtitle_in_avi(playlist);
    let said = b"Unknown encoder 'x'\nNo such filter: 'y'\nNo space left on device\n";
    let named = [
        &b"\x1a\x45\xdf\xa3\xc8\x42\x82\xc5"[..],
        said,
        &[b'.'; 5],
        &media.mkv[40..],
    ]
    .concat();
    [
        ("messages of our own in a container's name", named),
        ("HLS in ftyp", of_boxes(b"ftyp")),
        (
            "HLS behind ftyp",
            [&media.mp4[..32], playlist.as_bytes()].concat(),
        ),
        ("HLS in moov", of_boxes(b"moov")),
        ("HLS in mdat", of_boxes(b"mdat")),
        (
            "HLS in a transport stream",
            [&packet, playlist.as_bytes()].concat(),
        ),
        (
            "HLS in Matroska",
            [&media.mkv[..40], playlist.as_bytes()].concat(),
        ),
        (
            "HLS in FLV",
            [&media.flv[..13], playlist.as_bytes()].concat(),
        ),
        ("HLS as a subtitle of an AVI", subtitle),
        (
            "HLS behind a mark of order",
            [b"\xef\xbb\xbf", playlist.as_bytes()].concat(),
        ),
        (
            "HLS behind ID3",
            [b"ID3\x04\0\0\0\0\0\0", playlist.as_bytes()].concat(),
        ),
    ]
    .map(|(name, file)| Case::new(KIND, name, file))
    .into()
}

/// An AVI with one text stream that has a playlist in place of subtitles (`GAB2`).
fn subtitle_in_avi(playlist: &str) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        let length = u32::try_from(body.len())
            .expect("a short chunk")
            .to_le_bytes();
        let padding = vec![0; body.len() % 2];
        [&kind[..], &length, body, &padding].concat()
    };
    let list = |kind: &[u8; 4], body: &[u8]| chunk(b"LIST", &[&kind[..], body].concat());
    let mut header = b"txts".to_vec();
    header.resize(56, 0);
    header[20] = 1;
    header[24] = 25;
    let length = u32::try_from(playlist.len())
        .expect("a short text")
        .to_le_bytes();
    let text = [
        b"GAB2\0\x02\0\0\0\0\0\0\x04\0",
        &length[..],
        playlist.as_bytes(),
    ]
    .concat();
    let stream = list(
        b"strl",
        &[chunk(b"strh", &header), chunk(b"strf", &[0; 4])].concat(),
    );
    let headers = list(b"hdrl", &[chunk(b"avih", &[1; 56]), stream].concat());
    let movie = list(b"movi", &chunk(b"00tx", &text));
    chunk(b"RIFF", &[b"AVI ".to_vec(), headers, movie].concat())
}

/// Good files under names that programs interpret.
fn named(media: &Media) -> Vec<Case> {
    let names = [
        "frame-%03d.mp4",
        "../../etc/passwd",
        "/etc/passwd",
        "-i.mp4",
        "concat:a|b.mp4",
        "http://127.0.0.1/a.mp4",
        "a b'\"$(touch x)`;|&.mp4",
        "a\u{202e}4pm.mp4",
        "line\nbreak.mp4",
        "*?[a-z].mp4",
    ];
    let of =
        |name: &str| Case::new(KIND, format!("name {name:?}"), media.mp4.as_slice()).named(name);
    names.map(of).into()
}
