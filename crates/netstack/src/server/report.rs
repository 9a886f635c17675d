//! The counters of a server.

use crate::port::LinkCounters;

/// Counters of what a server has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Counters of the link.
    pub link: LinkCounters,
    /// Number of TCP connections accepted.
    pub connections: u64,
    /// Number of TCP connections that are open.
    pub open_connections: u64,
    /// Number of HTTP requests understood.
    pub http_requests: u64,
    /// Number of HTTP requests answered with an error.
    pub http_errors: u64,
    /// Number of bytes of generated bodies given to TCP.
    pub generated_bytes: u64,
    /// Number of bytes of uploaded bodies.
    pub uploaded_bytes: u64,
    /// Number of bytes taken by the discard services.
    pub discarded_bytes: u64,
    /// Number of UDP datagrams echoed.
    pub echoed_datagrams: u64,
    /// Number of DNS queries answered, with or without a result.
    pub dns_queries: u64,
    /// Number of datagrams at the DNS port that were no queries.
    pub dns_malformed: u64,
}
