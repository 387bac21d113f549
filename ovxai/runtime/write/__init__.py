"""From explanations to files: pictures, videos, the manifest and the report."""
