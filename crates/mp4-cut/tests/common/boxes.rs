//! Changes and prints the boxes of a file.

use std::fmt::Write;

/// Boxes that contain boxes, and how many bytes precede those.
const CONTAINERS: [(&[u8; 4], usize); 12] = [
    (b"moov", 0),
    (b"trak", 0),
    (b"edts", 0),
    (b"mdia", 0),
    (b"minf", 0),
    (b"dinf", 0),
    (b"stbl", 0),
    (b"udta", 0),
    (b"dref", 8),
    (b"stsd", 8),
    (b"avc1", 78),
    (b"jpeg", 78),
];
/// How many numbers of a table are shown at most.
const MAX_NUMBERS: usize = 24;

/// Where the first box of a kind begins.
pub fn first(file: &[u8], kind: [u8; 4]) -> usize {
    let kinds = file.windows(4).position(|bytes| *bytes == kind);
    kinds.unwrap_or_else(|| panic!("there is no box {}", name(&kind))) - 4
}

/// Where the last box of a kind begins.
pub fn last(file: &[u8], kind: [u8; 4]) -> usize {
    let kinds = file.windows(4).rposition(|bytes| *bytes == kind);
    kinds.unwrap_or_else(|| panic!("there is no box {}", name(&kind))) - 4
}

/// Changes the type of the box at `at`.
pub fn rename(file: &mut [u8], at: usize, kind: [u8; 4]) {
    file[at + 4..at + 8].copy_from_slice(&kind);
}

/// The length of the box that begins at `at`.
pub fn size(file: &[u8], at: usize) -> usize {
    u32::from_be_bytes(*file[at..].first_chunk().expect("a box")) as usize
}

/// A box.
pub fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + body.len()).expect("a short box");
    [&size.to_be_bytes(), &kind, body].concat()
}

/// Adds a box at the end of the one that `kinds` lead to, which must also be the end of the file.
pub fn add(file: &mut Vec<u8>, kinds: &[&[u8; 4]], added: &[u8]) {
    let (mut at, mut holders) = (0, Vec::new());
    for kind in kinds {
        while !file[at + 4..].starts_with(*kind) {
            at += size(file, at);
        }
        holders.push(at);
        // The descriptions follow their count.
        at += if *kind == b"stsd" { 16 } else { 8 };
    }
    let holder = *holders.last().expect("a box");
    let end = holder + size(file, holder);
    for holder in holders {
        let size = u32::try_from(size(file, holder) + added.len()).expect("a short box");
        file[holder..holder + 4].copy_from_slice(&size.to_be_bytes());
    }
    file.splice(end..end, added.iter().copied());
}

/// Where the boxes of an index and their bodies begin and end, including nested boxes. `at` is where `file` itself
/// begins.
pub fn boundaries(file: &[u8], at: usize, boundaries: &mut Vec<usize>) {
    const CONTAINERS: [&[u8; 4]; 6] = [b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl"];
    let mut offset = 0;
    while offset + 4 <= file.len() {
        let end = offset + size(file, offset);
        boundaries.extend([at + offset, at + offset + 8, at + end]);
        let kind = &file[offset + 4..];
        if CONTAINERS.iter().any(|holder| kind.starts_with(*holder)) {
            self::boundaries(&file[offset + 8..end], at + offset + 8, boundaries);
        }
        offset = end;
    }
}

/// How much of each box is shown.
#[derive(Clone, Copy, PartialEq)]
pub enum Detail {
    /// Kind, size and the numbers in them.
    All,
    /// The kind alone: another encoder makes boxes of other sizes.
    Kinds,
}

/// The boxes of a file, one per line, nested ones indented.
pub fn tree(file: &[u8], detail: Detail) -> String {
    let mut lines = String::new();
    add_to_tree(&mut lines, file, detail, 0);
    lines
}

fn add_to_tree(lines: &mut String, file: &[u8], detail: Detail, depth: usize) {
    let mut at = 0;
    while at + 8 <= file.len() {
        let end = at + size(file, at);
        let (kind, body) = (&file[at + 4..at + 8], &file[at + 8..end]);
        write!(lines, "{:width$}{}", "", name(kind), width = 2 * depth).expect("a string");
        let held = CONTAINERS.iter().find(|(holder, _)| *holder == kind);
        match (held, detail) {
            (Some((_, skipped)), _) => {
                lines.push('\n');
                add_to_tree(lines, &body[*skipped..], detail, depth + 1);
            }
            (None, Detail::Kinds) => lines.push('\n'),
            (None, Detail::All) => {
                let numbers = if kind == b"mdat" {
                    String::new()
                } else {
                    numbers(body)
                };
                writeln!(lines, " {} bytes{numbers}", body.len()).expect("a string");
            }
        }
        at = end;
    }
}

/// The big-endian numbers of a box, with small negative ones shown as negative, or its text.
fn numbers(body: &[u8]) -> String {
    let (words, rest) = body.as_chunks::<4>();
    let mut shown = String::new();
    for word in words.iter().take(MAX_NUMBERS) {
        match i32::from_be_bytes(*word) {
            _ if word.iter().all(u8::is_ascii_graphic) => write!(shown, " {}", name(word)),
            small @ -1_000_000..=i32::MAX => write!(shown, " {small}"),
            _ => write!(shown, " {:#x}", u32::from_be_bytes(*word)),
        }
        .expect("a string");
    }
    if words.len() > MAX_NUMBERS {
        shown += " …";
    } else if !rest.is_empty() {
        write!(shown, " {rest:x?}").expect("a string");
    }
    format!(":{shown}")
}

fn name(kind: &[u8]) -> String {
    String::from_utf8_lossy(kind).into_owned()
}
