//! What others have named, on its way to a terminal or a program.
