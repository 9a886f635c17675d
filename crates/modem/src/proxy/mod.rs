//! The modem's control session for other programs.

use uwwan_mbim::registry::CidId;
use uwwan_mbim::uuid::Uuid;

/// Set without content: the client asks that it may also end what `up` holds. Taken on the private
/// socket alone, and never passed on to a modem.
pub const INSIST: CidId = CidId {
    service: Uuid::literal("5a1f6b0e-3c52-4d0a-9f7e-75777761006e"),
    cid: 1,
};
