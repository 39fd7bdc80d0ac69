//! The programs that are run: which ones, for how long, as whom.
