//! MP4 and MOV: the index, and a window cut out of it.
