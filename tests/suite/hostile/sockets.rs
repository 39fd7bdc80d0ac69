//! Sockets and descriptors that a hostile process has chosen.
