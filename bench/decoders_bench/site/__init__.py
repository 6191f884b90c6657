"""The site: what MkDocs is given beside the pages under docs/."""
