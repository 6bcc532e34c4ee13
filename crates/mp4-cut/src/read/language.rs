//! Languages of tracks. MP4 packs an ISO 639-2/T code into 15 bits; `QuickTime` may have a number of the Macintosh Script
//! Manager instead (`QuickTime` File Format, "Language code values").

/// The lowest packed code; lower numbers are the Macintosh's.
const FIRST_PACKED: u16 = 0x400;
/// The Macintosh's languages from 0 on.
const MACINTOSH: [&str; 95] = [
    "eng", "fra", "deu", "ita", "nld", "swe", "spa", "dan", "por", "nor", // 0 to 9
    "heb", "jpn", "ara", "fin", "ell", "isl", "mlt", "tur", "hrv", "zho", // 10 to 19
    "urd", "hin", "tha", "kor", "lit", "pol", "hun", "est", "lav", "smi", // 20 to 29
    "fao", "fas", "rus", "zho", "nld", "gle", "sqi", "ron", "ces", "slk", // 30 to 39
    "slv", "yid", "srp", "mkd", "bul", "ukr", "bel", "uzb", "kaz", "aze", // 40 to 49
    "aze", "hye", "kat", "ron", "kir", "tgk", "tuk", "mon", "mon", "pus", // 50 to 59
    "kur", "kas", "snd", "bod", "nep", "san", "mar", "ben", "asm", "guj", // 60 to 69
    "pan", "ori", "mal", "kan", "tam", "tel", "sin", "mya", "khm", "lao", // 70 to 79
    "vie", "ind", "tgl", "msa", "msa", "amh", "tir", "orm", "som", "swa", // 80 to 89
    "kin", "run", "nya", "mlg", "epo", // 90 to 94
];
/// Those from 128 on.
const MORE_MACINTOSH: [&str; 11] = [
    "cym", "eus", "cat", "lat", "que", "grn", "aym", "tat", "uig", "dzo", "jav",
];
const FIRST_OF_MORE: u16 = 128;
/// The code of a language that is not known.
const UNDETERMINED: &str = "und";

/// What a `QuickTime` file means by a number that was read as a packed code.
pub(crate) fn of_quicktime(packed: String) -> String {
    let number = packed
        .bytes()
        .fold(0, |number, letter| number << 5 | u16::from(letter & 31));
    match number {
        FIRST_PACKED.. if is_code(&packed) => packed,
        ..FIRST_PACKED => of_macintosh(number).unwrap_or(UNDETERMINED).to_owned(),
        _ => UNDETERMINED.to_owned(),
    }
}

fn of_macintosh(number: u16) -> Option<&'static str> {
    let more = number.checked_sub(FIRST_OF_MORE);
    let code = match more {
        Some(more) => MORE_MACINTOSH.get(usize::from(more)),
        None => MACINTOSH.get(usize::from(number)),
    };
    code.copied()
}

/// The code, if it names a language.
pub(crate) fn named(code: String) -> Option<String> {
    if is_code(&code) && code != UNDETERMINED {
        Some(code)
    } else {
        None
    }
}

fn is_code(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{Encode, Mdhd};

    /// What a `QuickTime` file with this number says, and what a clip of it has in its place.
    fn spoken(number: u16) -> (String, u16) {
        let letter =
            |shift: u16| char::from(0x60 + u8::try_from(number >> shift & 31).expect("five bits"));
        let language = of_quicktime([10, 5, 0].map(letter).iter().collect());
        let mdhd = Mdhd {
            language: language.clone(),
            ..Mdhd::default()
        };
        let mut written = Vec::new();
        mdhd.encode(&mut written).expect("a box");
        let [.., high, low, _, _] = written[..] else {
            panic!("a box")
        };
        (language, u16::from_be_bytes([high, low]))
    }

    #[test]
    fn macintosh_languages_become_iso_codes() {
        for (number, code) in [
            (0, "eng"),
            (2, "deu"),
            (11, "jpn"),
            (33, "zho"),
            (94, "epo"),
            (128, "cym"),
            (138, "jav"),
        ] {
            let packed = code
                .bytes()
                .fold(0, |all, letter| all << 5 | u16::from(letter - 0x60));
            assert_eq!(spoken(number), (code.to_owned(), packed));
            // As MP4 has it.
            assert_eq!(spoken(packed), (code.to_owned(), packed));
        }
    }

    #[test]
    fn numbers_of_no_language_are_undetermined() {
        for number in [95, 127, 139, 0x3ff, 0x7fff, 0x400] {
            assert_eq!(spoken(number).0, "und", "{number}");
            assert_eq!(named(spoken(number).0), None);
        }
    }
}
