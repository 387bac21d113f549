"""Where on the picture every entry of every tensor lies: coordinates carried forward from the picture input."""
