//! Detects encryption in containers other than MP4: `FFmpeg` copies ciphertext as if it were pictures.

/// The path of Matroska elements that leads to a track's encryption (RFC 9559, section 5.1.4).
const CONTENT_ENCRYPTION: [u32; 6] = [0x1853_8067, 0x1654_ae6b, 0xae, 0x6d80, 0x6240, 0x5035];
/// Bytes of a packet of a transport stream (ITU-T H.222.0, 2.4.3.2).
const PACKET_BYTES: usize = 188;
const SYNC_BYTE: u8 = 0x47;

/// Whether the Matroska file that begins with `head` has an encrypted track.
pub fn has_encrypted_track(head: &[u8]) -> bool {
    leads_to(head, &CONTENT_ENCRYPTION)
}

/// Whether there are nested elements along `path` in `elements`.
fn leads_to(mut elements: &[u8], path: &[u32]) -> bool {
    let Some((wanted, rest)) = path.split_first() else {
        return true;
    };
    while let Some((id, size)) = number(&mut elements, true).zip(number(&mut elements, false)) {
        let size = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .min(elements.len());
        let (body, behind) = elements.split_at(size);
        if id == u64::from(*wanted) && leads_to(body, rest) {
            return true;
        }
        elements = behind;
    }
    false
}

/// A variable-length number (RFC 8794, section 4), with or without its marker bit.
fn number(bytes: &mut &[u8], with_marker: bool) -> Option<u64> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(length).filter(|_| length <= 8)?;
    *bytes = rest;
    let number = number
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    if with_marker {
        return Some(number);
    }
    let marker = 1_u64 << (7 * length);
    // All ones mean an unknown size.
    Some(if number == 2 * marker - 1 {
        u64::MAX
    } else {
        number - marker
    })
}

/// Whether most packets of one stream are scrambled, in a transport stream that begins with `head`.
pub fn is_scrambled(head: &[u8], stream: u16) -> bool {
    // Packets on Blu-ray Discs have a four-byte prefix.
    let (first, step) = match head.first() {
        Some(&SYNC_BYTE) => (0, PACKET_BYTES),
        _ => (4, PACKET_BYTES + 4),
    };
    let packets = head.get(first..).unwrap_or_default().chunks(step);
    let (mut scrambled, mut clear) = (0, 0);
    for packet in packets.filter_map(|packet| packet.get(..PACKET_BYTES)) {
        let [sync, high, low, flags, adaptation_bytes, ..] = *packet else {
            continue;
        };
        let has_payload = flags & 0x10 != 0;
        if sync != SYNC_BYTE || u16::from_be_bytes([high & 0x1f, low]) != stream || !has_payload {
            continue;
        }
        let adaptation = if flags & 0x20 == 0 {
            0
        } else {
            1 + usize::from(adaptation_bytes)
        };
        let payload = packet.get(4 + adaptation..).unwrap_or_default();
        let begins = high & 0x40 != 0;
        let is_packet_scrambled = match payload {
            [0, 0, 1, _, _, _, pes_flags, ..] if begins => pes_flags & 0x30 != 0,
            _ => false,
        };
        if flags & 0xc0 != 0 || is_packet_scrambled {
            scrambled += 1;
        } else if begins {
            clear += 1;
        }
    }
    scrambled > clear
}
