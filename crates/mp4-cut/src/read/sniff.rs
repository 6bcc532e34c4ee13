//! Identifies files whose container this crate does not read.

/// What the first bytes of a file, `head`, look like, with an article; `None` if nothing is recognised.
pub(crate) fn describe(head: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let starts = |magic: &[u8]| at(0, magic);

    Some(match () {
        () if starts(b"\0\0\x01\xb3") || starts(b"\0\0\0\x01") => "a raw video stream",
        () if starts(b"RIFF") && at(8, b"WAVE") => "a WAV file",
        () if starts(b"RIFF") && at(8, b"WEBP") => "a WebP image",
        () if starts(b"#EXTM3U") => "an HLS playlist",
        () if starts(b"OggS") => "an Ogg file",
        () if starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") => "a Windows Media file",
        () if starts(b"\x06\x0e\x2b\x34") => "an MXF file",
        () if starts(b"ID3") || starts(b"\xff\xfb") || starts(b"\xff\xf3") => "an MP3 file",
        () if starts(b"fLaC") => "a FLAC file",
        () if starts(b"\xff\xd8\xff") => "a JPEG image",
        () if starts(b"\x89PNG") => "a PNG image",
        () if starts(b"GIF8") => "a GIF image",
        () if starts(b"BM") && at(6, b"\0\0\0\0") => "a BMP image",
        () if starts(b"%PDF") => "a PDF document",
        () if starts(b"PK\x03\x04") => "a ZIP archive",
        () if starts(b"\x1f\x8b") => "a gzip archive",
        () if head.iter().all(|byte| *byte == 0) => "nothing but zeros",
        () if is_text(head) => "a text file",
        () => return None,
    })
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end inside a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && text
            .chars()
            .all(|character| !character.is_control() || character.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (head, name) in [
            (&b"RIFF\x24\x60\x5d\x01WAVEfmt "[..], "a WAV file"),
            (b"#EXTM3U\n#EXT-X-VERSION:3\n", "an HLS playlist"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
            ("Une vidéo renommée".as_bytes(), "a text file"),
            (b"Une vid\xc3", "a text file"),
            (b"\0\0\0\0\0\0\0\0", "nothing but zeros"),
        ] {
            assert_eq!(describe(head), Some(name));
        }
        assert_eq!(describe(b"\x01\x02\x03\x04\x05"), None);
    }
}
