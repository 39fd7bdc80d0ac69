//! File trees that others own or have made.
