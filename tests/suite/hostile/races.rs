//! Two that write at the same instant.
