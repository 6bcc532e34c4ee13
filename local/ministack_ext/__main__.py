"""MiniStack with the extension."""

from ministack import app

from . import install

install()
app.main()
