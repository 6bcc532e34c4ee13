//! Fuzzes what is read from transport streams and Matroska before `FFmpeg` reads them: whether they are encrypted.

#![no_main]

mod bounded;
#[path = "../../../ffmpeg/src/encrypted.rs"]
mod encrypted;

use bytes::Bytes;
use futures_executor::block_on;
use libfuzzer_sys::fuzz_target;
use mp4_cut::Movie;

fuzz_target!(|data: &[u8]| {
    let [high, low, head @ ..] = data else { return };
    let stream = u16::from_be_bytes([*high, *low]);
    let file = Bytes::copy_from_slice(head);
    bounded::bounded(data, 0, || {
        encrypted::is_scrambled(head, stream);
        encrypted::has_encrypted_track(head);
        // What kind of file it is.
        let _ = block_on(Movie::open(&file));
    });
});
