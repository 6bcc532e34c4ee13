"""Frames and pixels of the stand-in for MediaConvert."""

import struct
import unittest
import zlib
from fractions import Fraction

from local import mediaconvert

_NTSC = Fraction(30000, 1001)


class FrameNumberTest(unittest.TestCase):
    def test_a_time_code_counts_frames_at_the_nominal_rate(self) -> None:
        for timecode, rate, number in (
            ("00:00:00:00", Fraction(25), 0),
            ("00:00:01:24", Fraction(25), 49),
            ("01:00:00:00", Fraction(24000, 1001), 86_400),
            ("00:01:00:00", _NTSC, 1800),
        ):
            self.assertEqual(mediaconvert.frame_number(timecode, rate), number, timecode)

    def test_dropped_numbers_are_not_counted(self) -> None:
        for timecode, rate, number in (
            ("00:00:59;29", _NTSC, 1799),
            ("00:01:00;02", _NTSC, 1800),
            ("00:10:00;00", _NTSC, 17_982),
            ("00:01:00;04", 2 * _NTSC, 3600),
        ):
            self.assertEqual(mediaconvert.frame_number(timecode, rate), number, timecode)

    def test_a_time_code_that_no_frame_has_is_an_error(self) -> None:
        for timecode, rate, message in (
            ("00:00:01:25", Fraction(25), "frame number of 25"),
            ("00:01:00;01", _NTSC, "dropped"),
            ("00:00:01;00", Fraction(25), "drops frames"),
        ):
            with self.assertRaisesRegex(mediaconvert.JobError, message) as caught:
                mediaconvert.frame_number(timecode, rate)
            self.assertEqual(caught.exception.code, 1010)


class PixelsTest(unittest.TestCase):
    def test_every_filter_of_a_png_is_undone(self) -> None:
        first = bytes([10, 20, 30, 40, 50, 60])
        # Each row says the same: by itself, from the left, from above, from both, and by Paeth.
        rows = [
            b"\0" + first,
            b"\1" + bytes([10, 20, 30, 30, 30, 30]),
            b"\2" + bytes(6),
            b"\3" + bytes([5, 10, 15, 15, 15, 15]),
            b"\4" + bytes(6),
        ]
        found, width, height = mediaconvert.pixels(_png(2, 5, 2, b"".join(rows)))
        self.assertEqual((width, height), (2, 5))
        self.assertEqual(found, bytes([10, 20, 30, 255, 40, 50, 60, 255]) * 5)

    def test_alpha_is_kept(self) -> None:
        found, _, _ = mediaconvert.pixels(_png(1, 1, 6, b"\0" + bytes([1, 2, 3, 4])))
        self.assertEqual(found, bytes([1, 2, 3, 4]))

    def test_what_it_does_not_read_is_an_error(self) -> None:
        for image in (b"GIF89a", _png(1, 1, 0, b"\0\0"), b"\x89PNG\r\n\x1a\n"):
            with self.assertRaises(mediaconvert.JobError):
                mediaconvert.pixels(image)


def _png(width: int, height: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
