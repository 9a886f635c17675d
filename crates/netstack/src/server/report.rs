//! The counters of a server.

use crate::port::LinkCounters;

/// Counts of what a server has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Counts of the link.
    pub link: LinkCounters,
    /// TCP connections accepted.
    pub connections: u64,
    /// TCP connections open.
    pub open_connections: u64,
    /// HTTP requests understood.
    pub http_requests: u64,
    /// HTTP requests answered with an error.
    pub http_errors: u64,
    /// Bytes of generated bodies given to TCP.
    pub generated_bytes: u64,
    /// Bytes of uploaded bodies.
    pub uploaded_bytes: u64,
    /// Bytes taken by the discard services.
    pub discarded_bytes: u64,
    /// UDP datagrams echoed.
    pub echoed_datagrams: u64,
    /// DNS queries answered, with or without a result.
    pub dns_queries: u64,
    /// Datagrams at the DNS port that were no queries.
    pub dns_malformed: u64,
}
