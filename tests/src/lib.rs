//! What the end-to-end tests share: processes, waiting, a site in a folder.
