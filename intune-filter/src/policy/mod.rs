//! The policy compiler: configuration and catalogue in, contents of the kernel maps out.
