"""Frames of the stand-in for MediaConvert."""

import unittest
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
