//! Changes the boxes of an MP4 one by one. Lengths, and everything else in the file, stay correct.

/// Boxes that contain boxes, and how many bytes precede those.
const CONTAINERS: [(&[u8; 4], usize); 18] = [
    (b"moov", 0),
    (b"trak", 0),
    (b"edts", 0),
    (b"mdia", 0),
    (b"minf", 0),
    (b"dinf", 0),
    (b"stbl", 0),
    (b"udta", 0),
    (b"mvex", 0),
    (b"moof", 0),
    (b"traf", 0),
    (b"mfra", 0),
    (b"dref", 8),
    (b"stsd", 8),
    (b"avc1", 78),
    (b"hvc1", 78),
    (b"hev1", 78),
    (b"mp4a", 28),
];

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Box4 {
    pub kind: [u8; 4],
    /// The bytes before its child boxes, or its whole body if it has none.
    pub body: Vec<u8>,
    pub boxes: Vec<Box4>,
}

impl Box4 {
    /// A box without child boxes.
    #[must_use]
    pub fn new(kind: &[u8; 4], body: impl Into<Vec<u8>>) -> Self {
        Self {
            kind: *kind,
            body: body.into(),
            boxes: Vec::new(),
        }
    }

    /// A box of boxes.
    #[must_use]
    pub fn of(kind: &[u8; 4], boxes: impl Into<Vec<Self>>) -> Self {
        Self {
            kind: *kind,
            body: Vec::new(),
            boxes: boxes.into(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let inner: Vec<u8> = self.boxes.iter().flat_map(Self::bytes).collect();
        let length = 8 + self.body.len() + inner.len();
        let length = u32::try_from(length).expect("a short box");
        [&length.to_be_bytes()[..], &self.kind, &self.body, &inner].concat()
    }

    /// The descendant box at a path such as `mdia/minf`, taking the first box of each kind.
    ///
    /// # Panics
    /// If there is none.
    pub fn at(&mut self, path: &str) -> &mut Self {
        let mut found = self;
        for kind in path.split('/') {
            let mut boxes = found.boxes.iter_mut();
            found = boxes
                .find(|each| each.kind == kind.as_bytes())
                .unwrap_or_else(|| panic!("there is no box {kind} of {path}"));
        }
        found
    }

    /// Overwrites bytes of its body.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        if self.body.len() < at + bytes.len() {
            self.body.resize(at + bytes.len(), 0);
        }
        self.body[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Overwrites a number in its body.
    pub fn number(&mut self, at: usize, number: u32) -> &mut Self {
        self.write(at, &number.to_be_bytes())
    }
}

/// Parses bytes as boxes.
///
/// # Panics
/// If they are not boxes.
#[must_use]
pub fn parse(mut bytes: &[u8]) -> Vec<Box4> {
    let mut boxes = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let kind = *rest.first_chunk().expect("the kind of a box");
        let body = &bytes[8..length];
        let container = CONTAINERS.iter().find(|(container, _)| **container == kind);
        boxes.push(match container {
            Some((_, head)) => Box4 {
                kind,
                body: body[..*head].to_vec(),
                boxes: parse(&body[*head..]),
            },
            None => Box4::new(&kind, body),
        });
        bytes = &bytes[length..];
    }
    boxes
}

/// A file whose `moov` follows its media, with `moov` changed.
///
/// # Panics
/// If `moov` is elsewhere.
#[must_use]
pub fn with_moov(file: &[u8], change: impl FnOnce(&mut Box4)) -> Vec<u8> {
    let mut boxes = parse(file);
    let moov = boxes.last_mut().filter(|last| last.kind == *b"moov");
    change(moov.expect("an index at the end"));
    boxes.iter().flat_map(Box4::bytes).collect()
}

/// The same with a sample table of the first track changed.
#[must_use]
pub fn with_table(file: &[u8], table: &str, change: impl FnOnce(&mut Box4)) -> Vec<u8> {
    with_moov(file, |moov| {
        change(moov.at(&format!("trak/mdia/minf/stbl/{table}")));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_nothing_changed_are_as_they_were() {
        let inner = Box4::new(b"stsz", [0; 12]);
        let stsd = Box4 {
            kind: *b"stsd",
            body: vec![0; 8],
            boxes: vec![Box4::new(b"xxxx", [7; 5])],
        };
        let stbl = Box4::of(b"stbl", [stsd, inner]);
        let file = Box4::of(b"moov", [Box4::of(b"trak", [stbl])]);
        let mut parsed = parse(&file.bytes());
        assert_eq!(parsed, [file]);
        parsed[0].at("trak/stbl/stsz").number(8, 9);
        let bytes = parsed[0].bytes();
        assert!(bytes.ends_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]));
    }
}
