//! The configuration file: parsing, checking, and errors that name file, line and key.
