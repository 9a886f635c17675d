//! The commands of the program, one file or folder each: arguments with their help and examples,
//! and what they do. What several of them share stands beside them.

pub mod at;
pub mod bench;
pub mod capture;
pub mod completions;
pub mod contexts;
pub mod demo;
pub mod down;
pub mod emulate;
pub mod info;
pub mod ip_filters;
pub mod ipv6;
pub mod list;
pub mod manual;
pub mod mbim;
pub mod modem;
pub mod network;
pub mod ntb;
pub mod operator;
pub mod packet_service;
pub mod phonebook;
pub mod pin;
pub mod progress;
pub mod quirks;
pub mod radio;
pub mod reset;
pub mod services;
pub mod sessions;
pub mod signal;
pub mod sim;
pub mod sms;
pub mod stats;
pub mod status;
pub mod up;
pub mod usb;
pub mod ussd;
