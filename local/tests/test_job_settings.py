"""Which jobs the stand-in for MediaConvert accepts."""

import copy
import unittest
from typing import Any

from local import job_settings


def job() -> dict[str, Any]:
    """A job as made by clipflow, with nearly all settings that it uses."""
    return copy.deepcopy(_JOB)


_SIZE = {"width": 640, "height": 360}
_JOB: dict[str, Any] = {
    "role": "arn:aws:iam::000000000000:role/clipflow",
    "queue": "Default",
    "clientRequestToken": "a-token",
    "statusUpdateInterval": "SECONDS_10",
    "accelerationSettings": {"mode": "DISABLED"},
    "tags": {"clipflow": "yes"},
    "userMetadata": {"clipId": "wave"},
    "settings": {
        "timecodeConfig": {"source": "ZEROBASED"},
        "inputs": [
            {
                "fileInput": "s3://clips/source.mp4",
                "timecodeSource": "ZEROBASED",
                "inputClippings": [{"startTimecode": "00:00:01:00", "endTimecode": "00:00:02:09"}],
                "videoSelector": {"rotate": "AUTO"},
                "audioSelectors": {"sound": {"selectorType": "TRACK", "tracks": [1]}},
            }
        ],
        "outputGroups": [
            {
                "outputGroupSettings": {
                    "type": "FILE_GROUP_SETTINGS",
                    "fileGroupSettings": {"destination": "s3://clips/a/clip"},
                },
                "outputs": [
                    {
                        "containerSettings": {
                            "container": "MP4",
                            "mp4Settings": {"moovPlacement": "PROGRESSIVE_DOWNLOAD"},
                        },
                        "videoDescription": {
                            **_SIZE,
                            "crop": {"x": 0, "y": 2, **_SIZE},
                            "codecSettings": {
                                "codec": "H_264",
                                "h264Settings": {
                                    "rateControlMode": "QVBR",
                                    "qvbrSettings": {"qvbrQualityLevel": 8},
                                    "maxBitrate": 5_000_000,
                                    "framerateControl": "SPECIFIED",
                                    "framerateNumerator": 25,
                                    "framerateDenominator": 1,
                                    "parControl": "SPECIFIED",
                                    "parNumerator": 1,
                                    "parDenominator": 1,
                                },
                            },
                        },
                        "audioDescriptions": [
                            {
                                "audioSourceName": "sound",
                                "codecSettings": {
                                    "codec": "AAC",
                                    "aacSettings": {
                                        "bitrate": 96_000,
                                        "codingMode": "CODING_MODE_2_0",
                                        "sampleRate": 48_000,
                                    },
                                },
                            }
                        ],
                    }
                ],
            }
        ],
    },
}
_INPUT = "/settings/inputs/0"
_VIDEO = "/settings/outputGroups/0/outputs/0/videoDescription"
_H264 = f"{_VIDEO}/codecSettings/h264Settings"
_REMOVED = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The job with another value at a path, or without the value there."""
    made = job()
    *above, last = [int(part) if part.isdigit() else part for part in path.split("/")[1:]]
    at: Any = made
    for part in above:
        at = at[part]
    if value is _REMOVED:
        del at[last]
    else:
        at[last] = value
    return made


class RefusalTest(unittest.TestCase):
    def refuses(self, path: str, message: str, wrong: Any) -> None:
        with self.assertRaises(job_settings.Refusal) as caught:
            job_settings.check(wrong)
        refusal = caught.exception
        self.assertEqual((refusal.status, refusal.kind), (400, "BadRequestException"))
        self.assertTrue(str(refusal).startswith(f"{path}: "), refusal)
        self.assertIn(message, str(refusal))

    def test_a_job_of_clipflow_passes(self) -> None:
        job_settings.check(job())

    def test_what_the_model_does_not_have_is_refused(self) -> None:
        for path, value, message in (
            ("/settings/adAvail", {}, "is not a property that is supported"),
            (f"{_H264}/maxBitrate", 999, "is not from 1000 to 1152000000"),
            (f"{_H264}/maxBitrate", "5000000", "is not of type integer"),
            (f"{_H264}/maxBitrate", True, "is not of type integer"),
            (f"{_H264}/qvbrSettings/qvbrQualityLevel", 11, "is not from 1 to 10"),
            (f"{_VIDEO}/width", 8193, "is not from 32 to 8192"),
            (f"{_VIDEO}/codecSettings/codec", "H264", "is not one of "),
            (f"{_INPUT}/inputClippings/0/startTimecode", "00:00:60:00", "does not match"),
            (f"{_INPUT}/fileInput", "s3://" + "a" * 63 + "/" + "b" * 2048, "is not from"),
            (f"{_INPUT}/inputClippings", {}, "is not of type list"),
            ("/settings/inputs", "all", "is not of type list"),
            ("/userMetadata/clipId", 7, "is not of type string"),
        ):
            self.refuses(path, message, changed(path, value))

    def test_what_the_model_requires_is_required(self) -> None:
        for path in ("/role", "/settings"):
            self.refuses(path, "is a required property", changed(path, _REMOVED))

    def test_what_is_no_object_is_refused(self) -> None:
        self.refuses("", "is not of type structure", [])

    def test_what_clips_do_not_use_is_refused_though_the_service_has_it(self) -> None:
        for path, value, message in (
            ("/priority", 1, "is not a property that clips use"),
            (f"{_INPUT}/timecodeSource", "EMBEDDED", "which clips use"),
            (f"{_H264}/rateControlMode", "CBR", "which clips use"),
            (f"{_H264}/gopSize", 90, "is not a property that clips use"),
            ("/settings/inputs", [], "has 0 entries"),
            ("/settings/outputGroups/0/outputs", [{}, {}], "has 2 entries"),
            ("/role", "arn:aws:iam::1:role/a", "does not match"),
            (f"{_VIDEO}/codecSettings", _REMOVED, "is a required property"),
        ):
            self.refuses(path, message, changed(path, value))

    def test_rules_beyond_single_settings_hold(self) -> None:
        clipping = f"{_INPUT}/inputClippings"
        for path, changed_path, value, message in (
            (clipping, f"{clipping}/0/endTimecode", "00:00:00:24", "is before the start"),
            (clipping, f"{clipping}/0", {}, "neither a start nor an end"),
            (_VIDEO, f"{_VIDEO}/width", _REMOVED, "only one of width and height"),
            (_VIDEO, f"{_VIDEO}/width", 4098, "H_264 has at most 4096x2160"),
            (_VIDEO, f"{_VIDEO}/height", 4098, "H_264 has at most 4096x2160"),
            (_H264, f"{_H264}/parNumerator", _REMOVED, "are required"),
            (f"{_VIDEO}/crop/x", f"{_VIDEO}/crop/x", 1, "is not an even number"),
            (
                f"{_VIDEO}/codecSettings",
                f"{_VIDEO}/codecSettings/codec",
                "H_265",
                "has not the settings of H_265",
            ),
            (f"{_H264}/maxBitrate", f"{_H264}/maxBitrate", _REMOVED, "is a required property"),
            (_H264, f"{_H264}/framerateNumerator", _REMOVED, "are required"),
            (
                "/settings/outputGroups/0/outputs/0/audioDescriptions",
                f"{_INPUT}/audioSelectors",
                {},
                "no audio selector",
            ),
            ("/tags/clipflow", "/tags/clipflow", "a" * 257, "is longer than"),
        ):
            self.refuses(path, message, changed(changed_path, value))


class UseTest(unittest.TestCase):
    def test_the_model_has_all_that_clips_use(self) -> None:
        self._holds(job_settings.create_job(), job_settings.USED, "")

    def _holds(self, shape: Any, use: Any, path: str) -> None:
        if isinstance(use, dict):
            members = {each.serialization["name"]: each for each in shape.members.values()}
            for marked, each in use.items():
                name = marked.removesuffix("!")
                self.assertIn(name, members, path)
                self._holds(members[name], each, f"{path}/{name}")
        elif isinstance(use, set):
            self.assertLessEqual(use, set(shape.enum), path)
        elif isinstance(use, job_settings.Each):
            self._holds(shape.value if shape.type_name == "map" else shape.member, use.use, path)
