import tempfile
import unittest
from pathlib import Path
from unittest import mock

from local import demo_page, paths

_PAGE = """<!DOCTYPE html><html><head><title>a · clipflow</title><style>body {}</style></head><body>
<main><h1>a</h1><details id="document"><summary>d</summary></details>
<video src="clip-clip.mp4"></video></main></body></html>"""


class Index(unittest.TestCase):
    def written(self, scenes: list[demo_page.Scene]) -> str:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(paths, "DEMO", Path(folder)),
        ):
            for scene in scenes:
                for _, page in scene.pages:
                    (paths.DEMO / page.name).write_text(_PAGE, encoding="utf-8")
                scene.pages = [(caption, paths.DEMO / page.name) for caption, page in scene.pages]
            return demo_page.write(scenes).read_text(encoding="utf-8")

    def test_every_scene_has_its_pages_and_notifications(self) -> None:
        clip = demo_page.Scene("clip", "A clip", "Cut.", ["document"], [("", Path("clip.html"))])
        rerun = demo_page.Scene("rerun", "A rerun", "Mended.")
        rerun.pages = [("Before", Path("failed.html")), ("After", Path("rerun.html"))]
        rerun.notifications = [{"Message": {"status": "failed"}}]
        index = self.written([clip, rerun])
        self.assertEqual(index.count('<video src="clip-clip.mp4">'), 3)
        for name in ("clip", "failed", "rerun"):
            self.assertEqual(index.count(f'<details id="{name}-document">'), 1)
        self.assertIn("<h3>Before</h3>", index)
        self.assertIn("&quot;status&quot;: &quot;failed&quot;", index)
        self.assertIn("<title>The demonstration · clipflow</title>", index)

    def test_text_of_a_notification_stays_text(self) -> None:
        scene = demo_page.Scene("clip", "A clip", "Cut.", [], [("", Path("clip.html"))])
        scene.notifications = [{"Message": "<script>alert(1)</script>"}]
        self.assertNotIn("<script", self.written([scene]))


if __name__ == "__main__":
    unittest.main()
