"""One EHR over HTTP: what it can do, how each type is read, page by page."""
