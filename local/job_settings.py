"""The settings that a job of the stand-in for MediaConvert may have.

A job must pass three checks: the service's own model, from botocore; the list of settings that
clipflow uses, because the effect of the others was never examined; and rules in the service's
documentation that concern more than single settings."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

ACCOUNT = "000000000000"
TIMECODE = re.compile(r"^([01][0-9]|2[0-4]):([0-5][0-9]):([0-5][0-9])([:;])([0-9]{2})$")


class Refusal(Exception):
    """A request to which the service answers with an error."""

    def __init__(self, status: int, kind: str, message: str):
        super().__init__(message)
        self.status, self.kind = status, kind


def bad(path: str, message: str) -> Refusal:
    """The refusal of a request, or of the value at a path in it."""
    return Refusal(400, "BadRequestException", f"{path}: {message}")


def check(job: Any) -> None:
    """Checks the body of a CreateJob.

    # Errors
    Refusal for the first problem."""
    check_shape(create_job(), job, "")
    _check_use(USED, job, "")
    _check_rules(job)


# The service's model.


@functools.cache
def create_job() -> Any:
    """The shape of CreateJob in the model."""
    import botocore.loaders
    import botocore.model

    model = botocore.loaders.Loader().load_service_model("mediaconvert", "service-2")
    return botocore.model.ServiceModel(model).operation_model("CreateJob").input_shape


def check_shape(shape: Any, value: Any, path: str) -> None:
    """Checks a value against a shape of a service's model, with names as on the wire.

    # Errors
    Refusal for the first difference.
    """
    if not isinstance(value, _PYTHON_TYPES[shape.type_name]) or (
        isinstance(value, bool) and shape.type_name != "boolean"
    ):
        raise bad(path, f"{value!r} is not of type {shape.type_name}")
    _check_limits(shape, value, path)
    if shape.type_name == "structure":
        members = {
            each.serialization.get("name", name): (name, each)
            for name, each in shape.members.items()
        }
        for name in value.keys() - members.keys():
            raise bad(f"{path}/{name}", "is not a property that is supported")
        for name, (model_name, member) in members.items():
            if name in value:
                check_shape(member, value[name], f"{path}/{name}")
            elif model_name in shape.required_members:
                raise bad(f"{path}/{name}", "is a required property")
    for name, each in _items(value) if shape.type_name in ("list", "map") else ():
        check_shape(
            shape.member if shape.type_name == "list" else shape.value, each, f"{path}/{name}"
        )


_PYTHON_TYPES: dict[str, Any] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "double": (int, float),
    "float": (int, float),
}


def _check_limits(shape: Any, value: Any, path: str) -> None:
    limits = shape.metadata
    if "enum" in limits and value not in limits["enum"]:
        raise bad(path, f"{value!r} is not one of {', '.join(limits['enum'])}")
    if "pattern" in limits and not re.search(limits["pattern"], value):
        raise bad(path, f"{value!r} does not match /{limits['pattern']}/")
    least, most = limits.get("min", float("-inf")), limits.get("max", float("inf"))
    size = value if isinstance(value, int | float) else len(value)
    if not least <= size <= most:
        what = "value" if isinstance(value, int | float) else "length"
        raise bad(path, f"a {what} of {size} is not from {least} to {most}")


def _items(value: dict[str, Any] | list[Any]) -> Iterator[tuple[Any, Any]]:
    yield from value.items() if isinstance(value, dict) else enumerate(value)


# The settings that clipflow uses.


@dataclasses.dataclass(frozen=True)
class Each:
    """A list or a map with this many entries."""

    use: Any
    most: int
    least: int = 0


_ANY = None
"""Anything that the model allows."""
_URL = re.compile(r"^s3://[a-z0-9][a-z0-9.-]{2,62}/.+")
_IMAGE_URL = re.compile(_URL.pattern + r"\.(png|PNG|tga|TGA)$")
_TOKEN = re.compile(r"^[!-~]{0,64}$")

# A dictionary lists the allowed properties, with an exclamation mark the required ones; a set lists
# values; a pattern describes a string.
_CODEC: dict[str, Any] = {
    "rateControlMode!": {"QVBR"},
    "qualityTuningLevel": {"SINGLE_PASS", "SINGLE_PASS_HQ", "MULTI_PASS_HQ"},
    "qvbrSettings": {"qvbrQualityLevel": _ANY},
    "maxBitrate": _ANY,
    "framerateControl": {"INITIALIZE_FROM_SOURCE", "SPECIFIED"},
    "framerateConversionAlgorithm": {"DUPLICATE_DROP", "INTERPOLATE"},
    "framerateNumerator": _ANY,
    "framerateDenominator": _ANY,
    "parControl": {"INITIALIZE_FROM_SOURCE", "SPECIFIED"},
    "parNumerator": _ANY,
    "parDenominator": _ANY,
}
_IMAGE = {
    "imageInserterInput!": _IMAGE_URL,
    "imageX!": _ANY,
    "imageY!": _ANY,
    "width": _ANY,
    "height": _ANY,
    "layer!": _ANY,
    "opacity": _ANY,
}
_PICTURES = {
    "width": _ANY,
    "height": _ANY,
    "scalingBehavior": {"DEFAULT", "FILL", "STRETCH_TO_OUTPUT"},
    "crop": {"x!": _ANY, "y!": _ANY, "width!": _ANY, "height!": _ANY},
    "videoPreprocessors": {
        "colorCorrector": {"colorSpaceConversion": {"FORCE_709"}},
        "imageInserter": {"insertableImages": Each(_IMAGE, 1)},
    },
    "codecSettings!": {
        "codec!": {"H_264", "H_265"},
        "h264Settings": _CODEC,
        "h265Settings": {
            **_CODEC,
            "codecProfile": {"MAIN10_MAIN"},
            "writeMp4PackagingType": _ANY,
        },
    },
}
_SOUND = {
    "audioSourceName": _ANY,
    "codecSettings!": {
        "codec!": {"AAC"},
        "aacSettings!": {
            "bitrate!": _ANY,
            "codingMode!": {"CODING_MODE_1_0", "CODING_MODE_2_0", "CODING_MODE_5_1"},
            "sampleRate!": _ANY,
        },
    },
}
_OUTPUT = {
    "containerSettings!": {
        "container!": {"MP4"},
        "mp4Settings": {
            "moovPlacement": _ANY,
            "audioDuration": {"MATCH_VIDEO_DURATION", "DEFAULT_CODEC_DURATION"},
        },
    },
    "videoDescription!": _PICTURES,
    "audioDescriptions": Each(_SOUND, 100),
}
_INPUT = {
    "fileInput!": _URL,
    "timecodeSource": {"ZEROBASED"},
    "inputClippings": Each({"startTimecode": TIMECODE, "endTimecode": TIMECODE}, 150),
    "videoSelector": {
        "rotate": _ANY,
        "colorSpace": {"REC_601", "REC_709", "HDR10", "HLG_2020", "P3D65_HDR", "P3D65_SDR"},
        "colorSpaceUsage": {"FORCE"},
        "sampleRange": {"FULL_RANGE", "LIMITED_RANGE"},
    },
    "audioSelectors": Each(
        {
            "defaultSelection": {"DEFAULT", "NOT_DEFAULT"},
            "selectorType": {"TRACK"},
            "tracks": Each(_ANY, 100),
        },
        20,
    ),
}
USED = {
    "role!": re.compile(rf"^arn:aws:iam::{ACCOUNT}:role/.+"),
    "queue": _ANY,
    "clientRequestToken": _TOKEN,
    "statusUpdateInterval": _ANY,
    "accelerationSettings": {"mode!": _ANY},
    "tags": Each(_ANY, 50),
    "userMetadata": Each(_ANY, 10),
    "settings!": {
        "timecodeConfig": {"source": {"ZEROBASED"}},
        "inputs!": Each(_INPUT, 150, 1),
        "outputGroups!": Each(
            {
                "outputGroupSettings!": {
                    "type!": {"FILE_GROUP_SETTINGS"},
                    "fileGroupSettings!": {"destination!": _URL},
                },
                "outputs!": Each(_OUTPUT, 1, 1),
            },
            1,
            1,
        ),
    },
}


def _check_use(use: Any, value: Any, path: str) -> None:
    match use:
        case dict():
            _check_properties(use, value, path)
        case set() if value not in use:
            raise bad(path, f"{value!r} is not one of {', '.join(sorted(use))}, which clips use")
        case re.Pattern() if not use.search(value):
            raise bad(path, f"{value!r} does not match /{use.pattern}/")
        case Each():
            if not use.least <= len(value) <= use.most:
                raise bad(path, f"has {len(value)} entries, not {use.least} to {use.most}")
            for name, each in _items(value):
                _check_use(use.use, each, f"{path}/{name}")


def _check_properties(use: dict[str, Any], value: dict[str, Any], path: str) -> None:
    known = {name.removesuffix("!"): each for name, each in use.items()}
    for name in value.keys() - known.keys():
        raise bad(f"{path}/{name}", "is not a property that clips use")
    for name in use:
        if name.endswith("!") and name[:-1] not in value:
            raise bad(f"{path}/{name[:-1]}", "is a required property")
    for name, each in value.items():
        _check_use(known[name], each, f"{path}/{name}")


# Rules beyond single settings.

_LONGEST = {"tags": (128, 256), "userMetadata": (256, 256)}
"""The maximum length of names and values of an object."""
_LARGEST = {"H_264": (4096, 2160), "H_265": (8192, 4320)}
"""The maximum longer and shorter side of pictures (user guide, "Maximum supported output
resolutions")."""


def _check_rules(job: dict[str, Any]) -> None:
    for name, (longest_key, longest) in _LONGEST.items():
        for key, text in job.get(name, {}).items():
            if len(key) > longest_key or len(text) > longest:
                raise bad(f"/{name}/{key}", f"is longer than {longest_key} or {longest} characters")
    for index, each in enumerate(job["settings"]["inputs"]):
        for clipping in each.get("inputClippings", []):
            _check_clipping(clipping, f"/settings/inputs/{index}/inputClippings")
    path = "/settings/outputGroups/0/outputs/0"
    output = job["settings"]["outputGroups"][0]["outputs"][0]
    _check_pictures(output["videoDescription"], f"{path}/videoDescription")
    selectors = {
        name for each in job["settings"]["inputs"] for name in each.get("audioSelectors", {})
    }
    for each in output.get("audioDescriptions", []):
        if each.get("audioSourceName") not in selectors:
            raise bad(f"{path}/audioDescriptions", "refers to no audio selector of the inputs")


def _check_clipping(clipping: dict[str, str], path: str) -> None:
    if not clipping:
        raise bad(path, "has neither a start nor an end")
    start, end = clipping.get("startTimecode"), clipping.get("endTimecode")
    if start and end and end < start:
        raise bad(path, f"the end {end} is before the start {start}")


def _check_pictures(pictures: dict[str, Any], path: str) -> None:
    if ("width" in pictures) != ("height" in pictures):
        raise bad(path, "has only one of width and height")
    codec_name = pictures["codecSettings"]["codec"]
    shorter, longer = sorted((pictures.get("width", 0), pictures.get("height", 0)))
    most_longer, most_shorter = _LARGEST[codec_name]
    if longer > most_longer or shorter > most_shorter:
        raise bad(path, f"{codec_name} has at most {most_longer}x{most_shorter}")
    for side, pixels in pictures.get("crop", {}).items():
        if pixels % 2:
            raise bad(f"{path}/crop/{side}", f"{pixels} is not an even number")
    settings = pictures["codecSettings"]
    name = {"H_264": "h264Settings", "H_265": "h265Settings"}[settings["codec"]]
    if settings.keys() != {"codec", name}:
        raise bad(
            f"{path}/codecSettings", f"has not the settings of {settings['codec']}, and no others"
        )
    codec, path = settings[name], f"{path}/codecSettings/{name}"
    if "maxBitrate" not in codec:
        raise bad(f"{path}/maxBitrate", "is a required property when rateControlMode is QVBR")
    rate = {"framerateNumerator", "framerateDenominator"}
    if codec.get("framerateControl") == "SPECIFIED" and not rate <= codec.keys():
        raise bad(path, "numerator and denominator are required when framerateControl is SPECIFIED")
    aspect = {"parNumerator", "parDenominator"}
    if codec.get("parControl") == "SPECIFIED" and not aspect <= codec.keys():
        raise bad(path, "numerator and denominator are required when parControl is SPECIFIED")
