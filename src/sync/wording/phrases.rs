//! Sentences that errors carry as they are.

/// A process that shuts down while it parses.
pub(in crate::sync) const CANCELED: &str = "reading the repository was canceled";

/// Replacement of the API server's words about a Secret.
pub(in crate::sync) const WITHHELD: &str = "details are withheld because they may repeat the Secret's contents; every value of \
     `data` has to be base64, every value of `stringData` a string, and no other field may be misspelled";
