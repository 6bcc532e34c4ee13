//! Changes files box by box, so that most of them stay well-formed and get far into the reader. libFuzzer's own changes
//! apply to the contents of a box; boxes are repeated, moved and removed; tables grow and shrink. The lengths of all
//! enclosing boxes are kept correct.

use std::ops::Range;

/// Boxes that contain boxes, and how many bytes precede those.
const CONTAINERS: [(&[u8; 4], usize); 18] = [
    (b"moov", 0),
    (b"trak", 0),
    (b"edts", 0),
    (b"mdia", 0),
    (b"minf", 0),
    (b"dinf", 0),
    (b"stbl", 0),
    (b"cmov", 0),
    (b"udta", 0),
    (b"moof", 0),
    (b"traf", 0),
    (b"mvex", 0),
    (b"mfra", 0),
    (b"dref", 8),
    (b"stsd", 8),
    (b"avc1", 78),
    (b"hvc1", 78),
    (b"mp4a", 28),
];
/// The lengths of the entries of tables.
const ENTRIES: [usize; 4] = [4, 8, 12, 20];
/// Bytes before the count of a table: the header, version and flags.
const COUNT: usize = 12;

/// Changes the file in the first `size` bytes of `data`, and returns its new size, at most `max_size`.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) << 1 | 1);
    let places = places(&data[..size]);
    let Some(place) = random.choose(&places) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    let mut file = data[..size].to_vec();
    let whole = place.whole.clone();
    match random.below(10) {
        0 => return libfuzzer_sys::fuzzer_mutate(data, size, max_size),
        1 => replace(&mut file, place, whole, &[]),
        2 => {
            let again = file[whole.clone()].to_vec();
            replace(&mut file, place, whole.end..whole.end, &again);
        }
        3 => {
            let other = random
                .choose(&places)
                .map_or_else(Vec::new, |other| file[other.whole.clone()].to_vec());
            replace(&mut file, place, whole.start..whole.start, &other);
        }
        4 | 5 => resize_table(&mut file, place, &mut random),
        _ => {
            let mut body = file[whole.start + 8..whole.end].to_vec();
            let length = body.len();
            body.resize(length + 64, 0);
            let changed = libfuzzer_sys::fuzzer_mutate(&mut body, length, length + 64);
            replace_in(
                &mut file,
                place,
                whole.start + 8..whole.end,
                &body[..changed],
            );
        }
    }
    let length = file.len().min(max_size);
    data[..length].copy_from_slice(&file[..length]);
    length
}

/// A box in the file.
struct Place {
    whole: Range<usize>,
    /// Where the enclosing boxes begin.
    around: Vec<usize>,
}

fn places(file: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    find(file, 0..file.len(), &[], &mut places);
    places
}

fn find(file: &[u8], within: Range<usize>, around: &[usize], places: &mut Vec<Place>) {
    let mut at = within.start;
    while let Some((size, kind)) = file[at..within.end]
        .split_first_chunk()
        .filter(|(_, rest)| rest.len() >= 4)
    {
        let end = at.saturating_add(u32::from_be_bytes(*size) as usize);
        if end < at + 8 || end > within.end {
            return;
        }
        places.push(Place {
            whole: at..end,
            around: around.to_vec(),
        });
        let container = CONTAINERS
            .iter()
            .find(|(container, _)| kind.starts_with(*container));
        if let Some(body) = container
            .map(|(_, head)| at + 8 + head)
            .filter(|body| *body < end)
        {
            find(file, body..end, &[around, &[at]].concat(), places);
        }
        at = end;
    }
}

/// Replaces a part of the file next to or around a box.
fn replace(file: &mut Vec<u8>, place: &Place, range: Range<usize>, by: &[u8]) {
    let (old, new) = (range.len(), by.len());
    file.splice(range, by.iter().copied());
    for at in &place.around {
        add(file, *at, new, old);
    }
}

/// Replaces a part of a box.
fn replace_in(file: &mut Vec<u8>, place: &Place, range: Range<usize>, by: &[u8]) {
    let (old, new) = (range.len(), by.len());
    replace(file, place, range, by);
    add(file, place.whole.start, new, old);
}

/// Repeats or removes entries at the end of a table, and updates its count.
fn resize_table(file: &mut Vec<u8>, place: &Place, random: &mut Random) {
    let Range { start, end } = place.whole;
    let entry = ENTRIES[random.below(ENTRIES.len())];
    let count = 1 + random.below(8);
    if end - start < COUNT + 4 + entry {
        return;
    }
    let last = file[end - entry..end].to_vec();
    if random.below(2) == 0 {
        replace_in(file, place, end..end, &last.repeat(count));
        add(file, start + COUNT, count, 0);
    } else {
        let count = count.min((end - start - COUNT - 4) / entry);
        replace_in(file, place, end - count * entry..end, &[]);
        add(file, start + COUNT, 0, count);
    }
}

/// Adds `more` to the number at `at`, and takes `less` from it.
fn add(file: &mut [u8], at: usize, more: usize, less: usize) {
    if let Some(number) = file.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        let [more, less] = [more, less].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        *number = u32::from_be_bytes(*number)
            .wrapping_add(more)
            .wrapping_sub(less)
            .to_be_bytes();
    }
}

/// Numbers that look random (a xorshift generator); the seed is not zero.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % limit.max(1)
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
