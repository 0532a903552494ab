//! What the integration tests and the demo share: a laboratory of network namespaces.
