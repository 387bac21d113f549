"""Where a model can be explained, and why not elsewhere: searches that read a bare graph and answer with a site."""
