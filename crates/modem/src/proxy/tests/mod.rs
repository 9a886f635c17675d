//! Tests of the multiplexer against scripted clients and a scripted modem.

mod bench;
mod hostile;
mod loss;
mod subscribing;
mod transactions;
