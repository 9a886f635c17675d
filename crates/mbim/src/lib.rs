//! MBIM control protocol.
