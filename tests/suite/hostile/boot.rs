//! What is kept for boot, in folders and units that others have touched.
