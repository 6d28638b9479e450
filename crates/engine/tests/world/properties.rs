//! Random but lawful worlds.
