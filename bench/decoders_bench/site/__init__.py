"""The site: input of MkDocs in addition to the pages in docs/."""
