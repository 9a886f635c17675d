//! The program as its users run it: each file has a part of it.

mod at;
mod bench;
mod capture;
mod capture_scrub;
mod capture_show;
mod command_line;
mod demo;
mod emulate;
mod emulate_rules;
mod exec;
mod hostile_modem;
mod lab;
mod like;
mod manual;
mod memory;
mod modem_commands;
mod ntb_build;
mod pin;
mod privacy;
mod running;
mod through_up;
mod up;
mod usb_requests;
mod userspace;
